//! What a browser sends, a form or cookies: any bytes. Either it is none, or its fields are the same when they are sent anew.

pub fn run(input: &[u8]) {
    homepost::web::setup::form_reads_back(input);
}
