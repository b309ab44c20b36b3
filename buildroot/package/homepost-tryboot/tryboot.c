/*
 * Restarts a Raspberry Pi so that its firmware reads tryboot.txt once instead of
 * config.txt: the kernel hands the words of a restart on to the firmware
 * (drivers/firmware/raspberrypi.c looks for " tryboot" behind a partition's
 * number, and 0 is the one that it always starts from). Neither busybox nor
 * util-linux can give the kernel words.
 *
 * Only for the very end, when everything is written and let go: it returns only
 * when the kernel refuses.
 */
#include <linux/reboot.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART2, "0 tryboot");
	perror("tryboot");
	return 1;
}
