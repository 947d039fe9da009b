# Sourced by tests/vm/run, tests/trixie/run and tests/fresh/run: a Debian root directory, and commands run in it.

need_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && continue
    say "apt: installing $package"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" > /dev/null
  done
}

# make_root SUITE ROOT PACKAGES: debootstrap, with this host's resolver and certificates.
make_root() {
  say "building a Debian root ($1) in $2"
  rm -rf "$2"; mkdir -p "$(dirname "$2")"
  debootstrap --variant=minbase ${3:+--include="$3"} "$1" "$2" > "$2.log"
}

# copy_clone CLONE ROOT: the repository as a user would have it, at /src.
copy_clone() {
  cp -L /etc/resolv.conf "$2/etc/resolv.conf"
  cp -L /etc/ssl/certs/ca-certificates.crt "$2/etc/host-certificates.crt"   # this host may trust one that Debian does not
  rm -rf "$2/src"; mkdir "$2/src"
  tar -C "$1" --exclude=.git --exclude=__pycache__ -cf - . | tar -C "$2/src" -xf -
}

# in_root ROOT COMMAND…: run with ROOT as the root directory (pivoted to, not chrooted: a process in a chroot may not
# make user namespaces), in namespaces that end with the command; /proc and /dev are there, the host's cgroups too.
in_root() {
  unshare --mount --fork --pid --kill-child --propagation private -- bash -c '
    root=$1; shift
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"
    cd "$root"; mkdir -p .old; pivot_root . .old; umount -l /.old
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
      PIP_CERT=/etc/host-certificates.crt NODE_EXTRA_CA_CERTS=/etc/host-certificates.crt "$@"' bash "$@"
}

# trixie_root CLONE WORK [--service]: WORK/root is Debian 13 with a kernel and systemd, built once and kept, and in it the clone at
# /src, installed, with --service as the third argument as a service. WORK/vmlinuz and WORK/initrd boot it.
trixie_root() {
  local clone=$1 work=$2 packages
  packages=systemd,systemd-sysv,linux-image-cloud-amd64,initramfs-tools,udev,dbus,ca-certificates,perl,nginx,openssl
  need_packages debootstrap
  if [ "$(cat "$work/root.trixie" 2> /dev/null)" != "$packages" ]; then
    make_root trixie "$work/root" "$packages"
    cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"; cp "$work"/root/boot/initrd.img-* "$work/initrd"
    echo "$packages" > "$work/root.trixie"
  fi
  say "installing cellblock in the root"
  copy_clone "$clone" "$work/root"
  in_root "$work/root" /src/bootstrap install ${3:-}
}
