//! A new version from where new versions are published: first its head, which says what there is, then the system in pieces.
//!
//! | at `update.url` | what it is |
//! |---|---|
//! | `homepost-BOARD.head` | the signed manifest of the newest version (scripts/release) |
//! | `homepost-VERSION-BOARD.hpu` | that version: the same head, and the system |
//!
//! Each piece is asked for by itself (RFC 9110 14.2) and compared with the manifest before it is kept, so a line that breaks
//! costs one piece, and what is on the disk after a restart is used again. Whoever runs the server can send nothing that is
//! kept: not a byte that is not signed, nor more bytes than the manifest says.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::RANGE;
use http::{Request, StatusCode};

use crate::appliance::update::package::{MANIFEST_BYTES, PIECE_BYTES};
use crate::appliance::update::{Keys, Manifest, Package};
use crate::net::{HttpClient, HttpError, Roots};

/// What is before the manifest.
const BEFORE: usize = 8 + 4 + 64;
/// A piece is asked for so often.
const TRIES: u32 = 4;

/// Where versions are published.
pub(super) struct Place {
    base: String,
    client: HttpClient,
}

/// What is published there: the bytes that the file begins with, and what they say.
pub(super) struct Head {
    pub bytes: Vec<u8>,
    pub manifest: Manifest,
}

impl Place {
    /// Errors: a sentence.
    pub fn new(url: &str, roots: &Roots) -> Result<Place, String> {
        let client = HttpClient::new(roots).map_err(|error| format!("update.root: {error}"))?;
        let client = client.with_limit(usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX));
        Ok(Place { base: url.trim_end_matches('/').to_owned(), client })
    }

    /// The newest version for a board. Errors: a sentence.
    pub async fn head(&self, board: &str, keys: &Keys) -> Result<Head, String> {
        let name = format!("homepost-{board}.head");
        let body = self.get(&name, None).await?;
        let most = BEFORE + MANIFEST_BYTES as usize;
        let bytes = body.get(..body.len().min(most)).unwrap_or_default().to_vec();
        let package = Package::open(&bytes[..], keys).map_err(|refusal| format!("{name}: {refusal}"))?;
        Ok(Head { manifest: package.manifest, bytes })
    }

    /// The whole update into a file, of which whole pieces may be there already. `told` is how much is there, in percent.
    /// Blocks on the disk as well. Errors: a sentence; what came until then stays, for another time.
    pub async fn system(&self, head: &Head, to: &Path, told: impl Fn(u8)) -> Result<(), String> {
        let manifest = &head.manifest;
        let name = format!("homepost-{}-{}.hpu", manifest.version, manifest.board);
        let disk = |error: io::Error| format!("the update cannot be kept: {error}");
        let (mut file, mut number) = begun(head, to).map_err(disk)?;
        while let Some((at, length)) = manifest.piece(number) {
            let first = head.bytes.len() as u64 + at;
            let mut tries = 0;
            let piece = loop {
                tries += 1;
                match self.get(&name, Some((first, length))).await {
                    Ok(piece) if manifest.is_piece(number, &piece) => break piece,
                    Ok(_) if tries >= TRIES => return Err(format!("{name} is not what {}.head says", manifest.board)),
                    Err(words) if tries >= TRIES => return Err(words),
                    _ => tokio::time::sleep(Duration::from_secs(1 << tries)).await,
                }
            };
            file.write_all(&piece).map_err(disk)?;
            number += 1;
            told(u8::try_from((at + length) * 100 / manifest.bytes.max(1)).unwrap_or(100));
        }
        file.sync_all().map_err(disk)
    }

    async fn get(&self, name: &str, part: Option<(u64, u64)>) -> Result<Bytes, String> {
        let uri = format!("{}/{name}", self.base);
        let mut request = Request::get(&uri);
        if let Some((first, length)) = part {
            request = request.header(RANGE, format!("bytes={first}-{}", first + length - 1));
        }
        let request = request.body(Bytes::new()).map_err(|_| format!("{uri} is no address"))?;
        let told = |why: String| format!("{uri}: {why}");
        match self.client.send(request).await {
            Ok(answer) if part.is_some() && answer.status() == StatusCode::PARTIAL_CONTENT => Ok(answer.into_body()),
            Ok(answer) if part.is_none() && answer.status() == StatusCode::OK => Ok(answer.into_body()),
            Ok(answer) if answer.status() == StatusCode::OK => {
                Err(told("that server does not give parts of files".to_owned()))
            }
            // It began to send the whole.
            Err(HttpError::TooLong(_)) if part.is_some() => {
                Err(told("that server does not give parts of files".to_owned()))
            }
            Ok(answer) => Err(told(format!("that server says {}", answer.status()))),
            Err(error) => Err(told(error.to_string())),
        }
    }
}

/// The file with what of this update is in it already, behind its last whole piece, and the number of the next.
fn begun(head: &Head, to: &Path) -> io::Result<(File, usize)> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(to)?;
    let mut bytes = vec![0; head.bytes.len()];
    let (mut good, mut number) = (head.bytes.len() as u64, 0);
    if file.read_exact(&mut bytes).is_err() || bytes != head.bytes {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&head.bytes)?;
        return Ok((file, 0));
    }
    while let Some((_, length)) = head.manifest.piece(number) {
        bytes.resize(usize::try_from(length).unwrap_or(0), 0);
        if file.read_exact(&mut bytes).is_err() || !head.manifest.is_piece(number, &bytes) {
            break;
        }
        good += length;
        number += 1;
    }
    file.set_len(good)?;
    file.seek(SeekFrom::Start(good))?;
    Ok((file, number))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::appliance::update::package::made;

    fn head(version: &str, system: &[u8]) -> (Head, Vec<u8>) {
        let whole = made::packed(1, &made::manifest(version, "pc", system), system);
        let bytes = whole[..whole.len() - system.len()].to_vec();
        let keys = Keys::read(&made::keys(1)).unwrap();
        (Head { manifest: Package::open(&bytes[..], &keys).unwrap().manifest, bytes }, whole)
    }

    #[test]
    fn what_is_there_is_used_again_up_to_the_first_piece_that_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("part");
        let system: Vec<u8> = (0..20_000_u32).map(|number| (number >> 4) as u8).collect();
        let (head, whole) = head("1.0.1", &system);
        let before = head.bytes.len();
        for (length, next) in
            [(0, 0), (10, 0), (before, 0), (before + 4095, 0), (before + 4096, 1), (before + 9000, 2), (whole.len(), 5)]
        {
            fs::write(&file, &whole[..length]).unwrap();
            let (mut at, number) = begun(&head, &file).unwrap();
            assert_eq!(number, next, "{length}");
            let place = at.stream_position().unwrap();
            assert_eq!(place, before as u64 + head.manifest.piece(next).map_or(system.len() as u64, |(at, _)| at));
            assert_eq!(fs::metadata(&file).unwrap().len(), place);
        }
        let mut flipped = whole.clone();
        flipped[before + 5000] ^= 1;
        fs::write(&file, &flipped).unwrap();
        assert_eq!(begun(&head, &file).unwrap().1, 1);
        // Of another version nothing is used.
        let (other, _) = self::head("1.0.2", &system);
        assert_eq!(begun(&other, &file).unwrap().1, 0);
        assert_eq!(fs::read(&file).unwrap(), other.bytes);
    }
}
