################################################################################
#
# homepost-tryboot
#
################################################################################

HOMEPOST_TRYBOOT_SITE = $(BR2_EXTERNAL_HOMEPOST_PATH)/package/homepost-tryboot
HOMEPOST_TRYBOOT_SITE_METHOD = local
HOMEPOST_TRYBOOT_LICENSE = AGPL-3.0-only

define HOMEPOST_TRYBOOT_BUILD_CMDS
	$(TARGET_CC) $(TARGET_CFLAGS) $(TARGET_LDFLAGS) -o $(@D)/tryboot $(@D)/tryboot.c
endef

define HOMEPOST_TRYBOOT_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/tryboot $(TARGET_DIR)/usr/sbin/tryboot
endef

$(eval $(generic-package))
