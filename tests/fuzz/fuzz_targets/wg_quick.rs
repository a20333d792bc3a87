//! Files of wg-quick's: whatever one says, it is read or refused. What is read makes lines that a check accepts, and the same
//! file again when it is written; what is refused is reported without its secrets.
#![no_main]

use std::io;
use std::path::Path;

use genkan_config::key::EXAMPLE;
use genkan_config::wg_quick::Import;
use genkan_config::{Config, Host, HostFile};
use libfuzzer_sys::fuzz_target;

struct Machine<'a>(&'a [(String, Vec<u8>)]);

impl Host for Machine<'_> {
    fn read(&self, path: &Path) -> io::Result<HostFile> {
        let found = self.0.iter().find(|(name, _)| path == Path::new(name));
        let (_, content) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(HostFile { content: content.clone(), mode: 0o600 })
    }

    fn devices(&self) -> Option<Vec<String>> {
        None
    }
}

fn read(content: &[u8]) -> Result<Import, genkan_config::Report> {
    Import::load_on("wg0.conf", None, &Machine(&[("wg0.conf".to_owned(), content.to_vec())]))
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let secrets: Vec<&str> = (text.lines())
        .filter_map(|line| line.split('#').next()?.split_once('='))
        .filter(|(key, _)| ["privatekey", "presharedkey"].contains(&key.trim().to_lowercase().as_str()))
        .map(|(_, value)| value.trim())
        // What stands elsewhere, too, is shown there; so is what complaints give as an example.
        .filter(|value| value.len() >= 16 && text.matches(value).count() == 1 && !EXAMPLE.contains(value))
        .collect();
    let shown = match read(data) {
        Ok(import) => {
            let lines = import.toml(true);
            let mut files: Vec<(String, Vec<u8>)> =
                import.secrets().iter().map(|(name, key)| (name.clone(), key.as_bytes().to_vec())).collect();
            files.push((
                "gateway.toml".to_owned(),
                format!("[port.lan0]\ntap = \"tap0\"\n{lines}").into_bytes(),
            ));
            let config = match Config::load_on("gateway.toml", &Machine(&files)) {
                Ok(loaded) => loaded.config,
                Err(report) => panic!("{report}\n{lines}"),
            };
            assert_eq!(config.vpns[0].peers, import.file.peers);
            let again = read(import.file.text().as_bytes()).unwrap_or_else(|report| panic!("{report}"));
            assert_eq!(again.file, import.file);
            format!("{lines}{}{import:?}", import.toml(false))
        }
        Err(report) => {
            assert!(report.errors() > 0, "a file is refused for a reason");
            for diagnostic in &report.diagnostics {
                assert!(!diagnostic.message.ends_with('.') && !diagnostic.help.is_empty());
                let Some(place) = &diagnostic.place else { continue };
                assert!(place.span.end <= data.len() && place.line >= 1 && place.column >= 1);
            }
            let rendered = report.render(false);
            let tame = |c: char| c == '\n' || !c.is_control();
            assert!(rendered.chars().all(tame), "a terminal would act upon this: {rendered:?}");
            format!("{rendered}{report:?}")
        }
    };
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} is shown:\n{shown}");
    }
});
