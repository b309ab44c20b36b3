//! Sticks in a machine made of files: `/sys` as the kernel writes it, `/dev` with images.

use std::cell::RefCell;
use std::os::unix::fs::symlink;

use super::*;

thread_local! {
    static DID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn taken() -> Vec<String> {
    DID.with_borrow_mut(std::mem::take)
}

struct Stage {
    root: tempfile::TempDir,
    sticks: Arc<Sticks>,
}

impl Stage {
    fn new() -> Stage {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dev")).unwrap();
        fs::create_dir_all(root.path().join("sys/class/block")).unwrap();
        let acts = Acts {
            mount: |device, _, kind, writable, user| {
                let device = device.file_name().unwrap().to_string_lossy().into_owned();
                DID.with_borrow_mut(|did| did.push(format!("mount {device} {kind:?} {writable} {user}")));
                Ok(())
            },
            unmount: |_, at_once| {
                DID.with_borrow_mut(|did| did.push(format!("unmount {at_once}")));
                Ok(())
            },
        };
        let sticks = Sticks::new(root.path().to_owned(), 990, acts);
        Stage { root, sticks }
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// `parts`: what each partition holds, and its label in the table.
    fn plug(&self, disk: &str, bus: &str, insertion: u64, parts: &[(Vec<u8>, &str)]) {
        let at = format!("sys/devices/pci0000:00/{bus}/1-1/host6/target6:0:0/6:0:0:0/block/{disk}");
        self.put(&format!("{at}/size"), "400000\n");
        self.put(&format!("{at}/ro"), "0\n");
        self.put(&format!("{at}/diskseq"), format!("{insertion}\n"));
        self.put(&format!("{at}/device/vendor"), "Acme    \n");
        self.put(&format!("{at}/device/model"), "Stick \x1b[2J\n");
        let blocks = self.root.path().join("sys/class/block");
        let _ = fs::remove_file(blocks.join(disk));
        symlink(self.root.path().join(&at), blocks.join(disk)).unwrap();
        self.put(&format!("dev/{disk}"), vec![0; 4096]);
        for (number, (bytes, label)) in parts.iter().enumerate() {
            let name = format!("{disk}{}", number + 1);
            self.put(&format!("{at}/{name}/partition"), "1\n");
            self.put(&format!("{at}/{name}/uevent"), format!("DEVTYPE=partition\nPARTNAME={label}\n"));
            let _ = fs::remove_file(blocks.join(&name));
            symlink(self.root.path().join(&at).join(&name), blocks.join(&name)).unwrap();
            self.put(&format!("dev/{name}"), bytes);
        }
    }

    fn pull(&self, disk: &str) {
        fs::remove_file(self.root.path().join("sys/class/block").join(disk)).unwrap();
    }

    fn states(&self) -> Vec<State> {
        self.sticks.all().into_iter().map(|stick| stick.state).collect()
    }
}

/// The first megabyte of a file system that homepost made.
fn ours() -> Vec<u8> {
    let mut disk = vec![0; 70 << 20];
    format::tests::format_into(&mut disk);
    disk[2048 * 512..][..2 << 20].to_vec()
}

fn labelled(label: &[u8; 11]) -> Vec<u8> {
    let mut bytes = ours();
    let at = bytes.windows(11).rposition(|some| some == b"HOMEPOST   ").unwrap();
    bytes[at..at + 11].copy_from_slice(label);
    bytes
}

#[test]
fn a_stick_is_what_hangs_below_a_usb_controller() {
    let here = Stage::new();
    assert_eq!(here.states(), []);
    here.plug("sda", "ata1", 1, &[(ours(), "x")]);
    assert_eq!(here.states(), [], "A4");
    here.plug("sdb", "usb1", 2, &[(ours(), "x")]);
    let [stick] = &here.sticks.all()[..] else { panic!("one stick") };
    assert_eq!((stick.state, stick.insertion, stick.bytes), (State::Ready, 2, 400_000 * 512));
    assert_eq!((stick.name.as_str(), stick.label.as_deref()), ("Acme Stick ?[2J", Some("HOMEPOST")));
}

#[test]
fn each_kind_of_stick_is_told_apart_and_only_ours_is_mounted() {
    let here = Stage::new();
    let mut ext = vec![0; 8192];
    ext[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
    ext[1024 + 120..1024 + 128].copy_from_slice(b"HOMEPOST");
    let kinds: [(Vec<(Vec<u8>, &str)>, State); 5] = [
        (vec![(labelled(b"PICTURES   "), "")], State::Foreign),
        (vec![(vec![0; 8192], "")], State::Blank),
        (vec![], State::Blank),
        (vec![(ext, "")], State::OtherKind(Kind::Ext)),
        (vec![(ours(), "homepost-boot")], State::System),
    ];
    for (insertion, (parts, state)) in kinds.into_iter().enumerate() {
        here.plug("sdb", "usb1", insertion as u64 + 1, &parts);
        assert_eq!(here.states(), [state]);
        assert!(matches!(here.sticks.open(), Err(Error::Refused(_))), "{state:?}");
        let path = here.root.path().join("sys/devices");
        fs::remove_dir_all(path).unwrap();
        here.pull("sdb");
    }
    // It says how large it is, and then it is not there.
    here.plug("sdc", "usb2", 9, &[]);
    fs::remove_file(here.root.path().join("dev/sdc")).unwrap();
    assert_eq!(here.states(), [State::Broken]);
    assert_eq!(taken(), [] as [String; 0], "A5");
}

#[test]
fn the_partition_with_our_label_is_mounted_and_let_go_again() {
    let here = Stage::new();
    here.plug("sdb", "usb1", 3, &[(labelled(b"PICTURES   "), ""), (ours(), "")]);
    here.sticks.open().unwrap();
    here.sticks.open().unwrap();
    assert_eq!(here.states(), [State::Open]);
    here.sticks.close().unwrap();
    here.sticks.close().unwrap();
    assert_eq!(here.states(), [State::Ready]);
    assert_eq!(taken(), ["mount sdb2 Fat true 990", "unmount false"]);
}

#[test]
fn a_write_protected_stick_is_mounted_so() {
    let here = Stage::new();
    here.plug("sdb", "usb1", 3, &[(ours(), "")]);
    here.put("sys/devices/pci0000:00/usb1/1-1/host6/target6:0:0/6:0:0:0/block/sdb/ro", "1\n");
    here.sticks.open().unwrap();
    assert_eq!(taken(), ["mount sdb1 Fat false 990"]);
    assert!(matches!(here.sticks.prepare(3), Err(Error::Refused(words)) if words.contains("write-protected")));
}

#[test]
fn pulled_or_left_open_it_is_closed_by_itself() {
    let here = Stage::new();
    here.plug("sdb", "usb1", 3, &[(ours(), "")]);
    here.sticks.open().unwrap();
    assert!(here.sticks.look_after());
    // Another one in its place is not the same one.
    here.plug("sdb", "usb1", 4, &[(ours(), "")]);
    assert!(!here.sticks.look_after());
    assert_eq!(taken(), ["mount sdb1 Fat true 990", "unmount true"]);
    here.sticks.open().unwrap();
    for _ in 1..LEASE_TICKS {
        assert!(here.sticks.look_after());
    }
    assert!(!here.sticks.look_after());
    assert_eq!(taken(), ["mount sdb1 Fat true 990", "unmount false"]);
}

#[test]
fn several_sticks_are_a_question_for_the_owner() {
    let here = Stage::new();
    here.plug("sdb", "usb1", 3, &[(ours(), "")]);
    here.plug("sdc", "usb2", 4, &[(labelled(b"PICTURES   "), "")]);
    here.sticks.open().unwrap();
    here.sticks.close().unwrap();
    assert!(matches!(here.sticks.prepare(4), Err(Error::Refused(words)) if words.contains("several")));
    here.plug("sdd", "usb3", 5, &[(ours(), "")]);
    assert!(matches!(here.sticks.open(), Err(Error::Refused(words)) if words.contains("several")));
}

#[test]
fn prepared_is_the_stick_that_was_meant_and_no_other() {
    let here = Stage::new();
    here.plug("sdb", "usb1", 3, &[]);
    let disk = here.root.path().join("dev/sdb");
    fs::File::create(&disk).unwrap().set_len(400_000 * 512).unwrap();
    assert!(matches!(here.sticks.prepare(2), Err(Error::Refused(words)) if words.contains("pulled out")));
    assert!(fs::read(&disk).unwrap().iter().all(|byte| *byte == 0));
    // The kernel, which would show the partition now, is told to look; here nobody does.
    let device = "sys/devices/pci0000:00/usb1/1-1/host6/target6:0:0/6:0:0:0";
    here.put("sys/devices/pci0000:00/usb1/1-1/host6/scsi_host/host6/scan", "");
    let block = here.root.path().join(device).join("block/sdb/device");
    fs::remove_dir_all(&block).unwrap();
    symlink(here.root.path().join(device), &block).unwrap();
    let (bytes, root) = (ours(), here.root.path().to_owned());
    let kernel = std::thread::spawn(move || {
        let scan = root.join("sys/devices/pci0000:00/usb1/1-1/host6/scsi_host/host6/scan");
        while fs::read(&scan).unwrap() != b"- - -" {
            std::thread::sleep(Duration::from_millis(20));
        }
        let at = root.join(device).join("block/sdb/sdb1");
        fs::create_dir_all(&at).unwrap();
        fs::write(root.join("dev/sdb1"), bytes).unwrap();
        fs::write(at.join("partition"), "1\n").unwrap();
    });
    here.sticks.prepare(3).unwrap();
    kernel.join().unwrap();
    assert_eq!(here.states(), [State::Ready]);
    assert_eq!(fs::read(here.root.path().join(device).join("delete")).unwrap(), b"1");
}
