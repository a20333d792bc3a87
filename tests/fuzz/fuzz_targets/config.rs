//! Configuration files: whatever one says, it is a configuration or a report with errors; what is reported lies within the
//! file, and no terminal and no secret sees more of it than it should.
#![no_main]

use std::io;
use std::path::Path;

use genkan_config::{Config, Host, HostFile, diff};
use libfuzzer_sys::fuzz_target;

/// What every file of secrets holds.
const CANARY: &str = "Kx7-quartz-9vB";

/// What every file of a VPN's keys holds.
const KEY: &str = "WG8TkW3h5Wq4S8a3r6rY0Qx1c2d3e4f5g6h7i8j9k1A=";

struct Machine<'a>(&'a [u8]);

impl Host for Machine<'_> {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        let content = match path.to_str() {
            Some("/gateway.toml") => self.0.to_vec(),
            Some(path) if path.contains("users") => {
                format!("[[user]]\nname = \"alice\"\npassword = \"{CANARY}\"\n").into_bytes()
            }
            Some(path) if path.contains("loose") => {
                return Ok(HostFile { content: CANARY.into(), mode: 0o644 });
            }
            Some(path) if path.ends_with(".key") || path.ends_with(".psk") => KEY.into(),
            Some(path) if path.contains("none") => return Err(io::ErrorKind::NotFound.into()),
            _ => CANARY.into(),
        };
        Ok(HostFile { content, mode: 0o600 })
    }

    fn devices(&self) -> Option<Vec<String>> {
        Some(["lo", "eth0", "eth1", "wan0", "lan0"].map(String::from).to_vec())
    }
}

fuzz_target!(|data: &[u8]| {
    let report = match Config::load_on("/gateway.toml", &Machine(data)) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings.errors(), 0);
            assert!(diff(&loaded.config, &loaded.config).is_empty(), "nothing differs from itself");
            let shown = format!("{:?}", loaded.config);
            assert!(!shown.contains(CANARY) && !shown.contains(KEY), "no secret is printed");
            loaded.warnings
        }
        Err(report) => {
            assert!(report.errors() > 0, "a file is refused for a reason");
            report
        }
    };
    for diagnostic in &report.diagnostics {
        assert!(!diagnostic.message.is_empty() && !diagnostic.message.ends_with('.'));
        let Some(place) = &diagnostic.place else { continue };
        assert!(place.line >= 1 && place.column >= 1 && place.span.start <= place.span.end);
        if diagnostic.source == 0 {
            assert!(
                place.span.end <= data.len(),
                "{:?} is beyond the file's {} octets",
                place.span,
                data.len()
            );
            let lines = data.iter().filter(|&&octet| octet == b'\n').count() + 1;
            assert!(place.line <= lines);
        }
    }
    let text = report.render(false);
    let tame = |c: char| c == '\n' || !c.is_control();
    assert!(text.chars().all(tame), "a terminal would act upon this: {text:?}");
    for secret in [CANARY, KEY] {
        assert!(data.windows(secret.len()).any(|part| part == secret.as_bytes()) || !text.contains(secret));
    }
    let _ = (report.render(true), report.summary());
});
