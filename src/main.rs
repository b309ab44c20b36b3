fn main() -> std::process::ExitCode {
    homepost::server::main()
}
