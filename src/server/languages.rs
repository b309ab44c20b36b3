//! The languages of the pages: what is built in, and what lies in `languages/` of the data folder, a file each (`fr.txt`), read
//! at the start.

use std::fs::{self, File};
use std::io::Read;
use std::sync::Arc;

use tracing::{info, warn};

use crate::web::language::Languages;

use super::folder::Folder;

/// Files that are looked at.
const FILES: usize = 64;
const FILE_BYTES: u64 = 1024 * 1024 + 1;

/// A file that cannot be used, or a line of it, is said in the log, and keeps nothing else from working.
pub(super) fn load(folder: &Folder) -> Arc<Languages> {
    let mut languages = Languages::built_in();
    let Ok(entries) = fs::read_dir(folder.path().join("languages")) else { return Arc::new(languages) };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for path in files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "txt")).take(FILES) {
        let code = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
        let shown = format!("languages/{code}.txt");
        let mut bytes = Vec::new();
        if let Err(error) = File::open(&path).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes)) {
            warn!("{shown} cannot be read: {error}");
            continue;
        }
        let Ok(text) = String::from_utf8(bytes) else {
            warn!("{shown} is not UTF-8 and is not used");
            continue;
        };
        for fault in languages.add(code, &text) {
            warn!("{shown}, {fault}");
        }
        info!("pages can be in {code}, by {shown}");
    }
    Arc::new(languages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_folder_come_beside_what_is_built_in_and_a_broken_one_harms_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert!(load(&folder).has("de"), "without a folder of languages");
        let inner = dir.path().join("languages");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("fr.txt"), "Language: Fran\u{e7}ais\n\nGo on\nContinuer\n\nalone\n").unwrap();
        fs::write(inner.join("de.txt"), "Go on\nWeiter geht es\n").unwrap();
        fs::write(inner.join("it.txt"), b"\xff\xfe").unwrap();
        fs::write(inner.join("notes.md"), "Go on\nNo\n").unwrap();
        let languages = load(&folder);
        assert_eq!(languages.words("fr", "Go on"), "Continuer");
        assert_eq!(languages.words("de", "Go on"), "Weiter geht es", "a household's own wording counts more");
        assert_eq!(
            languages.choices().iter().find(|(code, _)| *code == "fr").map(|(_, name)| *name),
            Some("Fran\u{e7}ais")
        );
        assert!(!languages.has("it") && !languages.has("notes"));
    }
}
