//! A request of a mail program: any bytes. It is read or refused, and what was in it can be written into an answer.

pub fn run(input: &[u8]) {
    homepost::web::clients::xml_reads_back(input);
}
