import logging
logging.basicConfig(level=logging.INFO); logging.info("hello %s", "x"); logging.getLogger("a.b").warning("w")
