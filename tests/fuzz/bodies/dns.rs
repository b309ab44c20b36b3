//! An answer from the DNS: any bytes. It is read without a panic, and so is it when it is cut off.

pub fn run(input: &[u8]) {
    homepost::net::dns::can_read(input);
    homepost::net::dns::can_read(&input[..input.len() / 2]);
}
