import site, sys, sysconfig
print(site.ENABLE_USER_SITE, site.getsitepackages(), sys.prefix, sys.version_info[:2], sysconfig.get_path("stdlib"))
print(sorted(k for k in sys.path_importer_cache if k.startswith("/cellblock")), sys.meta_path, sys.warnoptions, sys.displayhook, sys.excepthook)
