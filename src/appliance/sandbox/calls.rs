//! seccomp: the system calls that a process can still make.
//!
//! Two filters, of which the stricter answer counts. [`DEADLY`] is what no part of homepost ever does and an intruder would
//! begin with: the kernel ends the process at once (SIGSYS, and a line in its log), and init starts it anew. What is on
//! neither list fails with ENOSYS, as on an older kernel: the libraries know how to do without a call that is too new
//! (`clone3`, `openat2`), so a list that lacks one costs a detour and not the mail service.
//!
//! The lists are those of the libraries we stand on, as glibc (debug builds, tests) and musl (the images) call them on
//! x86_64 and aarch64; found with strace under the end-to-end tests, and from their sources where those do not get.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// What one process may call besides [`COMMON`].
pub(super) struct Calls {
    also: &'static [c_long],
    sockets: &'static [libc::c_int],
    /// Of the deadly ones.
    spared: &'static [c_long],
}

pub(super) const SERVE: Calls = Calls {
    also: NETWORK,
    // Netlink: how libraries ask for the machine's addresses.
    sockets: &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
    spared: &[],
};

pub(super) const MACHINE: Calls = Calls {
    also: &[libc::SYS_clock_settime, libc::SYS_kill, libc::SYS_mount, libc::SYS_umount2],
    // No network, also when nobody gave this process a namespace without one.
    sockets: &[libc::AF_UNIX],
    spared: &[libc::SYS_clock_settime, libc::SYS_mount, libc::SYS_umount2],
};

/// Memory, threads, time, signals of our own, files, Unix sockets.
const COMMON: &[c_long] = &[
    // memory (mmap and mprotect: see `conditions`)
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    // threads
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    // signals; Landlock keeps those of `serve` at home
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    // time and randomness
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    // who and where we are
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getppid,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_umask,
    libc::SYS_uname,
    // files
    libc::SYS_chdir,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_syncfs,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
    // waiting, and sockets of the families in `Calls`
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
];

/// The older forms of some of them, which only x86_64 still has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_setrlimit,
    libc::SYS_stat,
    libc::SYS_sync_file_range,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

const NETWORK: &[c_long] = &[libc::SYS_recvmmsg, libc::SYS_sendmmsg];

/// Running programs, looking into other processes, mounting, loading code into the kernel, becoming somebody else.
const DEADLY: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_mknodat,
    libc::SYS_open_by_handle_at,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// What a terminal, a socket or a network card is asked, nothing that changes one: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO,
/// FIOCLEX; SIOCGIFINDEX and SIOCGIFNAME (which card an address is on). By number, the same on both machines, since the C
/// libraries disagree on their type.
const IOCTLS: &[u64] = &[0x5401, 0x5413, 0x541b, 0x5421, 0x5451, 0x8933, 0x8910];

/// Names of threads and of memory regions, and what the allocator and the run time ask.
const PRCTLS: &[u64] = &[
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_GET_DUMPABLE as u64,
    libc::PR_SET_VMA as u64,
    libc::PR_GET_SECCOMP as u64,
    libc::PR_GET_NO_NEW_PRIVS as u64,
];

pub(super) fn only(calls: &Calls) -> Result<String, String> {
    // Deadly first: the second list does not hold the call that sets a list.
    let done = deadly(calls).and_then(|first| Ok((first, allowed(calls)?))).and_then(|(first, second)| {
        apply_filter_all_threads(&first)?;
        apply_filter_all_threads(&second)
    });
    match done {
        Ok(()) => Ok("a list of system calls".to_owned()),
        // A kernel without seccomp, or an emulator of one (qemu-user).
        Err(error) => Err(format!("system calls are not restricted: {error}")),
    }
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn deadly(calls: &Calls) -> Result<BpfProgram, seccompiler::Error> {
    let deadly = DEADLY.iter().filter(|call| !calls.spared.contains(call));
    program(deadly.map(|call| (*call, Vec::new())).collect(), SeccompAction::Allow, SeccompAction::KillProcess)
}

fn allowed(calls: &Calls) -> Result<BpfProgram, seccompiler::Error> {
    let plain = COMMON.iter().chain(OLDER).chain(calls.also);
    let mut rules: Rules = plain.map(|call| (*call, Vec::new())).collect();
    rules.extend(conditions(calls)?);
    program(rules, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow)
}

fn program(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, seccompiler::Error> {
    let arch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, others, these, arch)?.try_into()?)
}

/// The calls that are allowed with some arguments only.
fn conditions(calls: &Calls) -> Result<Rules, seccompiler::BackendError> {
    // Those arguments are `int` to the kernel, which looks at the lower half only; so do we.
    let one_of = |argument: u8, values: &[u64]| {
        let rules = values.iter().map(|value| when(argument, SeccompCmpOp::Eq, *value));
        rules.collect::<Result<Vec<_>, _>>()
    };
    // Nothing is ever made executable: no code that came as data runs.
    let data = || Ok(vec![when(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?]);
    // A thread, never a process. (`clone3` hides this from a filter, and is not allowed; libraries then take `clone`.)
    let thread = libc::CLONE_THREAD as u64;
    let families: Vec<u64> = calls.sockets.iter().map(|family| *family as u64).collect();
    Ok(Rules::from([
        (libc::SYS_mmap, data()?),
        (libc::SYS_mprotect, data()?),
        (libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), thread)?]),
        (libc::SYS_socket, one_of(0, &families)?),
        (libc::SYS_ioctl, one_of(1, IOCTLS)?),
        (libc::SYS_prctl, one_of(0, PRCTLS)?),
    ]))
}

fn when(argument: u8, how: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_programs_and_nothing_deadly_is_allowed() {
        for calls in [&SERVE, &MACHINE] {
            assert!(!deadly(calls).unwrap().is_empty());
            // What the kernel takes at most.
            assert!(allowed(calls).unwrap().len() < 4096);
            for call in COMMON.iter().chain(OLDER).chain(calls.also) {
                assert!(!DEADLY.contains(call) || calls.spared.contains(call), "{call} is on both lists");
            }
        }
    }
}
