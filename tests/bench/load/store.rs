//! The store alone: letters kept with their record in the segments, or in a file each, all else being equal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use homepost::base::BlobId;
use homepost::store::blob::LetterHeader;
use homepost::store::data::Options;
use homepost::store::disk::RealDisk;
use homepost::store::{Data, Error, Table};
use serde_json::{Value, json};

use crate::corpus;
use crate::{Args, quantile};

/// `store --dir D --letters segments|files [--writers 1] [--messages 1000] [--seed 1]`: stages and commits letters of the
/// mix with six small rows each, then reads them all back. D is an empty folder on the disk in question.
#[allow(clippy::disallowed_methods)] // it measures time
pub fn run(args: &Args) -> Result<Value, String> {
    let usual = Options::default();
    let options = match args.text("letters")? {
        "segments" => usual,
        "files" => Options { letter_bytes: 0, ..usual },
        other => return Err(format!("--letters takes segments or files, not {other}")),
    };
    let disk = RealDisk::open(Path::new(args.text("dir")?)).map_err(|error| error.to_string())?;
    let data = Data::open(Arc::new(disk), options).map_err(|error| format!("{error:?}"))?;
    let messages = args.number("messages", 1000)?;
    let seed = args.number("seed", 1)?;
    let letters: Vec<_> = (0..messages).map(|n| corpus::letter(seed, n, "alice@example.test").bytes).collect();
    let bytes: usize = letters.iter().map(Vec::len).sum();

    let next = AtomicU64::new(0);
    let before = data.stats();
    let began = Instant::now();
    let mut took: Vec<f64> = Vec::new();
    let mut blobs: Vec<BlobId> = Vec::new();
    std::thread::scope(|scope| {
        let writer = || -> Result<Vec<(f64, BlobId)>, Error> {
            let mut done = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(letter) = letters.get(n as usize) else { return Ok(done) };
                let began = Instant::now();
                done.push((0.0, keep(&data, n, letter)?));
                if let Some(last) = done.last_mut() {
                    last.0 = began.elapsed().as_secs_f64() * 1000.0;
                }
            }
        };
        let writers: Vec<_> = (0..args.number("writers", 1)?.max(1)).map(|_| scope.spawn(writer)).collect();
        for writer in writers {
            for (ms, blob) in writer.join().map_err(|_| "a writer panicked")?.map_err(|error| format!("{error:?}"))? {
                took.push(ms);
                blobs.push(blob);
            }
        }
        Ok::<(), String>(())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let after = data.stats();

    let began = Instant::now();
    for chunk in blobs.chunks(100) {
        let snapshot = data.read().map_err(|error| format!("{error:?}"))?;
        for blob in chunk {
            data.blobs().read_in(&snapshot, *blob, 0..u64::MAX).map_err(|error| format!("{error:?}"))?;
        }
    }
    let reading = began.elapsed().as_secs_f64();
    data.close().map_err(|error| format!("{error:?}"))?;
    Ok(json!({
        "messages": messages, "bytes": bytes, "seconds": seconds, "per_second": messages as f64 / seconds,
        "ms_p50": quantile(&mut took, 0.5), "ms_p99": quantile(&mut took, 0.99),
        "syncs_per_message": (after.syncs - before.syncs) as f64 / messages as f64,
        "read_mb_per_second": bytes as f64 / 1e6 / reading,
    }))
}

fn keep(data: &Data, n: u64, letter: &[u8]) -> Result<BlobId, Error> {
    let header = LetterHeader { accounts: vec!["alice@example.test".into()], ..LetterHeader::default() };
    let staged = data.blobs().stage(header, letter)?;
    let committed = data.write_blocking(move |txn| {
        let blob = txn.attach(&staged)?;
        for row in 0..6_u8 {
            let key = [b"bench".as_slice(), &n.to_be_bytes(), &[row]].concat();
            txn.put(Table::Meta, &key, vec![row; 60]);
        }
        Ok::<BlobId, Error>(blob)
    })?;
    Ok(committed.value)
}
