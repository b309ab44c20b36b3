################################################################################
#
# homepost
#
################################################################################

HOMEPOST_VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' $(BR2_EXTERNAL_HOMEPOST_PATH)/../Cargo.toml | head -n 1)
HOMEPOST_SITE = $(call qstrip,$(BR2_PACKAGE_HOMEPOST_BINARY_DIR))
HOMEPOST_SITE_METHOD = local
HOMEPOST_LICENSE = AGPL-3.0-only
HOMEPOST_LICENSE_FILES = LICENSE

# Neither a binary of another architecture nor one that asks for a dynamic
# linker would start, and that would be noticed on the box only.
define HOMEPOST_BUILD_CMDS
	$(TARGET_READELF) -h $(@D)/homepost | \
		grep -q 'Machine:.*$(if $(BR2_aarch64),AArch64,X86-64)'
	! $(TARGET_READELF) -l $(@D)/homepost | grep -q INTERP
endef

define HOMEPOST_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/homepost $(TARGET_DIR)/usr/bin/homepost
endef

$(eval $(generic-package))
