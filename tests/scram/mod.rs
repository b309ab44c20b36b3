//! The client's side of SCRAM-SHA-256, worked out anew here so that it does not share the server's mistakes.

use aws_lc_rs::{digest, hmac, pbkdf2};
use homepost::proto::sasl::{decode, encode};

fn sign(key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes()).as_ref().to_vec()
}

/// The client's side of RFC 5802 3: its last message, and the server's signature that it will believe.
pub fn prove(password: &str, binding: &[u8], first_bare: &str, server_first: &str) -> (String, String) {
    let field = |name: &str| {
        let found = server_first.split(',').find_map(|field| field.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{name} in {server_first}"))
    };
    let salt = decode(field("s=").as_bytes()).unwrap();
    let rounds = field("i=").parse().unwrap();
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
    let client_key = sign(&salted, "Client Key");
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    let without_proof = format!("c={},r={}", encode(binding), field("r="));
    let auth = format!("{first_bare},{server_first},{without_proof}");
    let signature = sign(stored_key.as_ref(), &auth);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let server_signature = sign(&sign(&salted, "Server Key"), &auth);
    (format!("{without_proof},p={}", encode(&proof)), format!("v={}", encode(&server_signature)))
}
