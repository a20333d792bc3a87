//! What tests do to the kernel path behind the program's back, and what they see of it.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use genkan::fastpath::pins::Pins;
use pcap_file::pcap::PcapReader;

use crate::gateway::Genkan;
use crate::lab::Lab;
use crate::netns::{Namespace, stop};
use crate::wait_for;

/// Fills one of a running gateway's maps whose values have 64 octets with zeros.
///
/// # Panics
///
/// When there is none.
#[track_caller]
pub fn empty(gateway: &Genkan, map: &str) {
    let pins =
        Pins::find(&gateway.config().with_extension("state")).expect("the gateway has pinned its maps");
    let path = pins.current().expect("a generation is in use").join(map);
    let opened = MapData::from_pin(&path).and_then(Map::from_map_data);
    let opened = opened.and_then(Array::<_, [u8; 64]>::try_from);
    let mut array = opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for index in 0..array.len() {
        array.set(index, [0; 64], 0).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// The source addresses of the IPv4 packets that leave by a device in PPPoE.
#[derive(Debug)]
pub struct Sources {
    file: PathBuf,
    tcpdump: Child,
}

impl Sources {
    /// Watches from now on.
    #[track_caller]
    pub fn start(lab: &Lab, namespace: &Namespace, device: &str) -> Sources {
        let file = lab.folder().join("sources.pcap");
        let mut command = namespace.command("tcpdump");
        command.args(["-i", device, "-Q", "out", "-s", "64", "-U", "-w"]).arg(&file).arg("pppoes");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let tcpdump = command.spawn().expect("tcpdump can be run");
        wait_for("tcpdump to write", Duration::from_secs(10), || {
            let written = fs::metadata(&file).map(|file| file.len());
            if written.is_ok_and(|octets| octets > 24) { Ok(()) } else { Err("nothing yet".to_string()) }
        });
        Sources { file, tcpdump }
    }

    /// The addresses, in the order in which the packets came.
    #[track_caller]
    pub fn finish(mut self) -> Vec<String> {
        stop(&mut self.tcpdump, Duration::from_secs(5));
        let mut reader =
            PcapReader::new(File::open(&self.file).expect("the capture is there")).expect("a capture");
        let mut sources = Vec::new();
        while let Some(Ok(packet)) = reader.next_packet() {
            // Ethernet, PPPoE, PPP, and the source twelve octets into the packet.
            if let Some(&[0x00, 0x21, _, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d]) =
                packet.data.get(20..).and_then(|rest| rest.first_chunk())
            {
                sources.push(Ipv4Addr::new(a, b, c, d).to_string());
            }
        }
        sources
    }
}
