"""`cellblock token`: makes and lists bearer tokens."""

import datetime
import os
import pathlib

import click

from daemon.terminal import our_errors, say


@click.group()
def token() -> None:
    """Make and list the bearer tokens of the HTTP API (docs/access.md)."""


@token.command("new")
@click.option("--id", "name", default="default", show_default=True, help="Whose it is; all with one id are one client.")
@click.option("--scope", "scopes", multiple=True, help="run, grade, problems, watch; repeatable. [default: run, grade]")
@click.option("--days", type=click.FloatRange(0, 36500, min_open=True), help="Days until it expires. [default: never]")
@click.option("--comment", help="One line for whoever reads the file.")
@click.option("--print", "only_print", is_flag=True, help="Write no file; print the table for it after the token.")
def new(name: str, scopes: tuple[str, ...], days: float | None, comment: str | None, only_print: bool) -> None:
    """Make a token, print it, and put its hash into the file of tokens (`tokens_file`).

    It is shown this once. A running server knows it a second later. What is not said is as the latest token with the
    same id has it: to rotate a token make a second one, and remove the first from the file when nobody uses it.
    """
    with our_errors():
        from daemon import launch, settings, token_file

        configured = settings.load()
        path = configured.tokens_file or pathlib.Path(settings.TOKENS_FILE)
        expires = None
        if days is not None:
            expires = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days)).replace(microsecond=0)
        known = token_file.known(path)
        made = token_file.make(known, id=name, scopes=scopes or None, comment=comment, expires=expires)
        if not only_print:
            token_file.append(path, made, launch.http_user(configured).pw_gid if os.geteuid() == 0 else None)
            click.echo(f"cellblock: its hash is in {path}", err=True)
            if configured.tokens_path is None:
                click.echo(f'cellblock: a server needs the setting tokens_file = "{path}"', err=True)
        say(made.text)
        if only_print:
            say(f"\n{token_file.table(made.entry)}".rstrip())


@token.command("list")
def show() -> None:
    """Show whose tokens there are: id, the beginning of the hash, scopes, until when, comment."""
    with our_errors():
        from daemon import settings, token_file

        configured = settings.load()
        for entry in token_file.known(configured.tokens_path or pathlib.Path(settings.TOKENS_FILE)):
            until = "never expires" if entry.expires is None else f"until {entry.expires}"
            scopes = " ".join(sorted(entry.scopes))
            say(f"{entry.id:20} {entry.hash[:8]}  {scopes:28} {until:33} {entry.comment}".rstrip())
