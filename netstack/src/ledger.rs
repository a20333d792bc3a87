//! The account of every frame, and the reasons why frames are dropped.

use serde::Serialize;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a frame was dropped. `name()` is stable: it stands in status, captures and metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl DropReason {
            /// Every reason, in order.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)+];

            /// The reason's stable name.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$name => $text,)+ }
            }

            /// One sentence on what it means.
            pub const fn describe(self) -> &'static str {
                match self { $(DropReason::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The frame is shorter than its Ethernet header.
    EthernetTruncated = "ethernet-truncated",
    /// The frame does not bear the tag of the port's VLAN (IEEE 802.1Q).
    VlanMismatch = "vlan-mismatch",
    /// Nobody here speaks this ethertype.
    UnknownEthertype = "unknown-ethertype",
    /// The frame is for another station.
    OtherStation = "other-station",
    /// The source address is a group's, or all zeros.
    BadSourceMac = "bad-source-mac",
    /// The frame carries the router's own source address.
    OwnSourceMac = "own-source-mac",
    /// A bridged frame's destination is on the port it came from.
    BridgeSamePort = "bridge-same-port",
    /// More frames for everyone come than a bridged LAN carries to its peers: a storm.
    BridgeStorm = "bridge-storm",
    /// The bridge port is blocked for a while, because a station was seen there and elsewhere in turn: a loop.
    BridgeLoop = "bridge-loop",
    /// A Router Advertisement, Redirect or DHCP message, or what may hide one, that is not to pass between a LAN and a bridged peer (RFC 6105).
    BridgeGuard = "bridge-guard",
    /// A frame that does not leave its site: PPPoE, one for a reserved group (IEEE 802.1D), or the VPN's own.
    BridgeSite = "bridge-site",
    /// A frame of one bridged peer for a station behind another, where the VPN is no hub.
    BridgeSplitHorizon = "bridge-split-horizon",
    /// The VXLAN header is cut short or names no network, or no Ethernet frame follows it (RFC 7348 section 5).
    VxlanMalformed = "vxlan-malformed",
    /// The VXLAN header names a network that is not the peer's.
    VxlanUnknownNetwork = "vxlan-unknown-network",
    /// The PPPoE header is cut short, or has another version, type or code, or a length beyond the frame.
    PppoeMalformed = "pppoe-malformed",
    /// No PPPoE session has this source address and session id.
    PppoeUnknownSession = "pppoe-unknown-session",
    /// A discovery packet that is malformed.
    DiscoveryMalformed = "discovery-malformed",
    /// A well-formed discovery packet that nothing here waits for.
    DiscoveryUnexpected = "discovery-unexpected",
    /// A PPP packet that is cut short or whose length field is wrong.
    PppMalformed = "ppp-malformed",
    /// A PPP packet that may not pass in this phase of the link.
    PppPhase = "ppp-phase",
    /// A PPP reply that answers nothing that was asked.
    PppUnexpected = "ppp-unexpected",
    /// An ARP packet that is malformed or not for Ethernet and IPv4.
    ArpMalformed = "arp-malformed",
    /// An ARP packet that claims an address of the router, or one outside the LAN's network.
    ArpSpoofed = "arp-spoofed",
    /// A packet of Neighbor Discovery or MLD that is malformed, or not from the link (RFC 4861 §6.1, §7.1).
    NdpMalformed = "ndp-malformed",
    /// A packet of Neighbor Discovery that claims an address of the router.
    NdpSpoofed = "ndp-spoofed",
    /// The IPv4 header is cut short or contradicts itself.
    Ipv4Malformed = "ipv4-malformed",
    /// The IPv4 header's checksum is wrong.
    Ipv4Checksum = "ipv4-checksum",
    /// The IPv6 header, or one that leads from it to the transport, is cut short, misplaced or contradicts itself.
    Ipv6Malformed = "ipv6-malformed",
    /// A routing header of type 0, which lets the sender choose the route (RFC 5095).
    RoutingHeader = "routing-header",
    /// A unique local address that would cross the border to an uplink (RFC 6092 REC-7).
    UlaLeak = "ula-leak",
    /// The transport header is cut short or contradicts itself.
    TransportMalformed = "transport-malformed",
    /// A checksum over ICMP is wrong.
    IcmpChecksum = "icmp-checksum",
    /// The source address cannot be a host's, or may not be seen on this side (RFC 1812 §5.3.7, BCP 38).
    BogonSource = "bogon-source",
    /// The destination address cannot be forwarded to.
    BogonDestination = "bogon-destination",
    /// The source address belongs to another interface (BCP 38).
    Spoofed = "spoofed",
    /// Source and destination are the same address and port.
    Land = "land",
    /// An IPv4 option that lets the sender choose the route.
    SourceRoute = "source-route",
    /// The hop limit ran out; the sender was told where that is allowed.
    TtlExceeded = "ttl-exceeded",
    /// Too large for the next hop, with "do not fragment"; the sender was told.
    TooBig = "too-big",
    /// A fragment that overlaps, is too small, or ends beyond 65,535 octets.
    FragmentMalformed = "fragment-malformed",
    /// The first fragment did not come in time.
    FragmentTimeout = "fragment-timeout",
    /// No room for more waiting fragments.
    FragmentOverflow = "fragment-overflow",
    /// A filter rule says drop.
    FilterDrop = "filter-drop",
    /// A filter rule says reject; the sender was told.
    FilterReject = "filter-reject",
    /// No rule, flow or mapping lets it in.
    FilterDefault = "filter-default",
    /// A TCP segment that opens nothing and belongs to no flow.
    TcpNoFlow = "tcp-no-flow",
    /// An ICMP error that belongs to no flow.
    IcmpNoFlow = "icmp-no-flow",
    /// No route to the destination.
    NoRoute = "no-route",
    /// The uplink is down.
    WanDown = "wan-down",
    /// The flow was translated to an address that the uplink has lost.
    StaleEpoch = "stale-epoch",
    /// No external port is free.
    NatExhausted = "nat-exhausted",
    /// The host has as many flows as it may have.
    HostQuota = "host-quota",
    /// The flow table is full.
    FlowTableFull = "flow-table-full",
    /// The neighbour did not answer ARP.
    NeighbourUnreachable = "neighbour-unreachable",
    /// Too many packets already wait for this neighbour.
    NeighbourQueue = "neighbour-queue",
    /// IPv6 is not routed on this interface.
    Ipv6Off = "ipv6-off",
    /// An IP protocol that cannot be translated.
    NatProtocol = "nat-protocol",
    /// A packet for the router itself that nothing here listens to.
    NotListening = "not-listening",
    /// A DHCP message that is malformed or not for this server.
    DhcpMalformed = "dhcp-malformed",
    /// A DHCP message that answers nothing that was asked, is for somebody else, or does not prove whose it is.
    DhcpUnexpected = "dhcp-unexpected",
    /// The router's own service is overloaded.
    ServiceOverload = "service-overload",
    /// A large segment that cannot be cut as it asks.
    GsoMalformed = "gso-malformed",
    /// A WireGuard message that is malformed, or one that carries no whole IP packet.
    WireguardMalformed = "wireguard-malformed",
    /// A WireGuard handshake whose sender does not know our public key.
    WireguardMac = "wireguard-mac",
    /// A WireGuard handshake that proves no peer's key, or was here before.
    WireguardHandshake = "wireguard-handshake",
    /// A WireGuard handshake beyond what its source may ask; under load, one that did not prove its source yet.
    WireguardLimited = "wireguard-limited",
    /// A WireGuard message for a handshake or keypair that is not, or no longer, known.
    WireguardUnknownIndex = "wireguard-unknown-index",
    /// A WireGuard message that was not sealed with its keypair.
    WireguardDecrypt = "wireguard-decrypt",
    /// A WireGuard message that came before, or so late that nobody knows.
    WireguardReplay = "wireguard-replay",
    /// A packet out of WireGuard whose source is not among the addresses that its peer may use.
    WireguardSource = "wireguard-source",
    /// No WireGuard peer has the destination among its addresses.
    WireguardNoPeer = "wireguard-no-peer",
    /// Nobody knows where the WireGuard peer is: it has no endpoint yet.
    WireguardNoEndpoint = "wireguard-no-endpoint",
    /// The WireGuard peer did not answer any handshake, or the keys are too old for the message.
    WireguardNoKeys = "wireguard-no-keys",
    /// Too many packets already wait for the handshake with this WireGuard peer.
    WireguardQueue = "wireguard-queue",
    /// No headroom or buffer for the encapsulation. Always a fault of the router.
    Internal = "internal",
}

const REASONS: usize = DropReason::ALL.len();

/// The account of every frame: how many were born, and how each ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Frames that came in by a port.
    pub received: u64,
    /// Frames that the router built itself.
    pub originated: u64,
    /// Frames that came to stand beside another one: segments, fragments, flooded copies.
    pub copied: u64,
    /// Frames that left by a port.
    pub transmitted: u64,
    /// Frames that the router acted upon itself.
    pub consumed: u64,
    dropped: [u64; REASONS],
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger { received: 0, originated: 0, copied: 0, transmitted: 0, consumed: 0, dropped: [0; REASONS] }
    }
}

/// The two sides of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// received + originated + copied.
    pub born: u64,
    /// transmitted + consumed + Σ dropped + held.
    pub ended: u64,
}

impl Balance {
    /// True when every frame is accounted for.
    pub const fn holds(self) -> bool {
        self.born == self.ended
    }
}

impl Ledger {
    /// Counts a drop.
    pub fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Number of frames dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Number of frames dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Every reason that has dropped a frame, with its count.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.dropped(reason))).filter(|&(_, count)| count > 0)
    }

    /// The account, given the number of frames `held` at this moment (fragments and packets that wait for a
    /// neighbour).
    pub fn balance(&self, held: usize) -> Balance {
        Balance {
            born: self.received + self.originated + self.copied,
            ended: self.transmitted + self.consumed + self.dropped_total() + held as u64,
        }
    }
}

impl Serialize for Ledger {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        struct Drops<'a>(&'a Ledger);
        impl Serialize for Drops<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.drops().map(|(reason, count)| (reason.name(), count)))
            }
        }

        let mut out = serializer.serialize_struct("Ledger", 6)?;
        out.serialize_field("received", &self.received)?;
        out.serialize_field("originated", &self.originated)?;
        out.serialize_field("copied", &self.copied)?;
        out.serialize_field("transmitted", &self.transmitted)?;
        out.serialize_field("consumed", &self.consumed)?;
        out.serialize_field("dropped", &Drops(self))?;
        out.end()
    }
}
