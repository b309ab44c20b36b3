include $(sort $(wildcard $(BR2_EXTERNAL_HOMEPOST_PATH)/package/*/*.mk))

# The clock's user is the one of overlays/common/etc/passwd, whoever builds the image.
OPENNTPD_CONF_OPTS += --with-privsep-user=ntpd
OPENNTPD_USERS =
