//! Reports of strangers: as a letter, as what is packed in it, as XML, JSON and fields. Read or refused, within their limits.

pub fn run(input: &[u8]) {
    homepost::mailauth::report::reads_anything(input);
}
