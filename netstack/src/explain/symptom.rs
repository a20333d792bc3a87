//! The table of symptoms: what each means, what usually causes it, and what to try. Everything that `explain` says about
//! causes is here.

/// What is seen of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table says what each is")]
pub enum Symptom {
    NoCarrier,
    NoOffer,
    NoOfferAnyMore,
    WrongVlan,
    OtherConcentrator,
    OtherService,
    OfferWithError,
    OfferUnusable,
    NoConfirmation,
    ServiceNameError,
    SystemError,
    GenericError,
    RefusedUnexplained,
    EndedAtOnce,
    EndedInAuthentication,
    EndedOnline,
    Forgotten,
    SeveralConcentrators,
    LcpSilent,
    LcpLooped,
    LcpNoAgreement,
    LcpRefused,
    NoCommonAuthentication,
    PapRefused,
    ChapRefused,
    AuthenticationSilent,
    AuthenticationEnded,
    ServerNotProven,
    EchoTimeout,
    EchoLoss,
    IpcpRejected,
    IpcpSilent,
    IpcpNoAgreement,
    IpcpEnded,
    ZeroAddress,
    Ipv6cpRejected,
    Ipv6cpSilent,
    Ipv6cpNoAgreement,
    Ipv6cpEnded,
    Ipv6SmallMtu,
    DhcpSilent,
    DhcpRefused,
    DhcpUnusable,
    AddressTaken,
    LeaseLost,
    PrefixRefused,
    PrefixSilent,
    PrefixUnusable,
    PrefixTooSmall,
    NoAdvertisement,
    MtuPort,
    MtuConcentrator,
    MtuPeer,
    MtuPath,
    CarrierNat,
    PrivateAddress,
    AddressChanges,
    NoDnsServers,
    DnsSilent,
    NoGatewayAnswer,
    NothingReceived,
    FilterRule,
    FilterDefault,
    DeadHost,
    HostQuota,
    NatFull,
    FlowTableFull,
    UplinkDown,
    SourceWrong,
    NoWay,
    StaleFlow,
    VpnNoAnswer,
    VpnStranger,
    VpnNotOurs,
    VpnImpostor,
    VpnNoName,
    VpnNoEndpoint,
    VpnUnusableKey,
    VpnReplayed,
    VpnClock,
}

/// What is known of a symptom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knowledge {
    /// What is seen, as a clause.
    pub clause: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// The two likeliest causes, the likelier one first.
    pub causes: [&'static str; 2],
    /// What to try, in order.
    pub advice: &'static [&'static str],
}

const fn known(
    clause: &'static str,
    meaning: &'static str,
    causes: [&'static str; 2],
    advice: &'static [&'static str],
) -> Knowledge {
    Knowledge { clause, meaning, causes, advice }
}

const ASK_ISP: &str = "ask the ISP's support, and give them the words that came back";
const CREDENTIALS: &str = "compare `pppoe.username` and the password file with the ISP's letter, letter by letter, the part behind @ too";

impl Symptom {
    /// What the table has of it.
    pub const fn knowledge(self) -> Knowledge {
        match self {
            Symptom::NoCarrier => known(
                "the port is not usable",
                "No frame can leave or come in: the device has no carrier, is down or is gone.",
                [
                    "the cable to the modem is unplugged or broken, or the modem is off",
                    "the device in the configuration is not the one that the cable is in",
                ],
                &[
                    "look at the lamps at both ends of the cable",
                    "`ip link` shows which device has a carrier",
                ],
            ),
            Symptom::NoOffer => known(
                "no concentrator answers our PADI",
                "Our broadcasts leave the port and nobody who speaks PPPoE hears them.",
                [
                    "the modem is not in bridge mode, or has no connection to the exchange (DSL or fibre) yet",
                    "the ISP wants the frames in a VLAN: give the port the `vlan` that the ISP names (often 7, 10, 20 or 35)",
                ],
                &[
                    "look whether the modem's DSL or PON lamp is steady, and put it into bridge mode",
                    "ask the ISP for the VLAN of the Internet service, and set `vlan` of the port",
                ],
            ),
            Symptom::NoOfferAnyMore => known(
                "no concentrator answers our PADI any more",
                "The line has worked before with the same settings, so what is beyond the port has changed.",
                [
                    "the modem has lost its connection to the exchange, or the ISP's concentrator is down",
                    "the concentrator still believes in the session of before and stays silent until it has timed out",
                ],
                &[
                    "look at the modem's lamps, then at the ISP's page for outages",
                    "wait ten minutes: genkan goes on dialling, and ends the session of before with each PADI",
                ],
            ),
            Symptom::WrongVlan => known(
                "the frames that come in are of another VLAN than ours",
                "Frames arrive, but with another tag than the port is told to use, or none: they were dropped.",
                [
                    "the `vlan` of the port is not the ISP's",
                    "the modem puts the tag on itself, so that the port needs none",
                ],
                &[
                    "set `vlan` of the port to the number that came in, or take it out",
                    "`genkan capture FILE --drops` shows the frames with their tags",
                ],
            ),
            Symptom::OtherConcentrator => known(
                "concentrators answer, but none has the name that `pppoe.ac-name` asks for",
                "The configuration accepts one concentrator only, and that one is silent.",
                [
                    "the ISP has renamed or replaced its concentrator",
                    "`pppoe.ac-name` has a typing error; it must be the same letter by letter",
                ],
                &["take `pppoe.ac-name` out, or set it to the name that came back"],
            ),
            Symptom::OtherService => known(
                "concentrators answer, but none offers the service that `pppoe.service-name` asks for",
                "Few ISPs use service names; those that do answer to the right one only.",
                [
                    "`pppoe.service-name` has a typing error, or is another ISP's",
                    "the ISP takes any name, and only an empty one is answered as ours",
                ],
                &["take `pppoe.service-name` out, or set it to the one that came back"],
            ),
            Symptom::OfferWithError => known(
                "the concentrator answers our PADI with an error",
                "It hears us and says in its offer already that it cannot serve.",
                [
                    "it has no room for another session",
                    "it does not serve this line, or not the service that we ask for",
                ],
                &["wait some minutes: genkan goes on dialling", ASK_ISP],
            ),
            Symptom::OfferUnusable => known(
                "an offer came that is no answer to our question",
                "A PADO must repeat our Host-Uniq, and come to our address; this one did not.",
                [
                    "the ISP expects a certain Host-Uniq (`pppoe.host-uniq`)",
                    "something between us and the concentrator changes or delays the packets",
                ],
                &["ask the ISP for the Host-Uniq, and set `pppoe.host-uniq`"],
            ),
            Symptom::NoConfirmation => known(
                "the concentrator offers a session, and then does not answer our PADR",
                "It heard the broadcast, but not what we send to it alone, or it does not want us.",
                [
                    "the concentrator is overloaded or still ends the session of before",
                    "something on the line filters by Ethernet address: the ISP knows another router's",
                ],
                &[
                    "wait ten minutes with the modem off, so that the session of before ends",
                    "set `mac` of the port to that of the router that worked before",
                ],
            ),
            Symptom::ServiceNameError => known(
                "the concentrator refuses: Service-Name-Error",
                "It does not know the service that we ask for.",
                [
                    "`pppoe.service-name` is not one of the ISP's",
                    "the line is not switched for this service yet",
                ],
                &["take `pppoe.service-name` out", ASK_ISP],
            ),
            Symptom::SystemError => known(
                "the concentrator refuses: AC-System-Error",
                "It knows us and cannot open a session now.",
                [
                    "the ISP allows one session, and believes that the one of before still runs",
                    "the concentrator has no sessions or addresses left",
                ],
                &["wait ten minutes: genkan goes on dialling, moderately", ASK_ISP],
            ),
            Symptom::GenericError => known(
                "the concentrator refuses: Generic-Error",
                "It gives a reason of its own, in its own words.",
                [
                    "the ISP allows one session, and believes that the one of before still runs",
                    "the line or the account is blocked",
                ],
                &["read its words; wait ten minutes", ASK_ISP],
            ),
            Symptom::RefusedUnexplained => known(
                "the concentrator refuses the session and gives no reason",
                "Its PADS has the session number 0 and no error tag.",
                [
                    "the ISP allows one session, and believes that the one of before still runs",
                    "the concentrator is overloaded",
                ],
                &["wait ten minutes: genkan goes on dialling", ASK_ISP],
            ),
            Symptom::EndedAtOnce => known(
                "the concentrator ends every session at once",
                "A PADT came before LCP was open: it grants a number and takes it back.",
                [
                    "the ISP allows one session, and believes that the one of before still runs",
                    "two devices on this line dial: the modem, or another router, does so too",
                ],
                &[
                    "put the modem into bridge mode, and switch off whatever else dials",
                    "wait ten minutes with genkan stopped, so that the session of before ends",
                ],
            ),
            Symptom::EndedInAuthentication => known(
                "the concentrator ends the session while we prove who we are",
                "A PADT came instead of an answer to name and password.",
                [
                    "the username or password is wrong, and the ISP says so by hanging up",
                    "the ISP allows one session, and another one runs",
                ],
                &[CREDENTIALS, ASK_ISP],
            ),
            Symptom::EndedOnline => known(
                "the ISP has ended the session",
                "It worked until then. Many ISPs do so once a day; genkan dials again by itself.",
                [
                    "the ISP's daily reconnection, or work on its side",
                    "the same username is used by another router",
                ],
                &["nothing, if it comes back within a minute", ASK_ISP],
            ),
            Symptom::Forgotten => known(
                "the concentrator has forgotten our session",
                "It does not answer on the session any more, or gave its number away: it has started anew.",
                ["the concentrator has restarted", "the line was down for longer than the ISP waits"],
                &["nothing: genkan dials anew"],
            ),
            Symptom::SeveralConcentrators => known(
                "more than one concentrator answers on this line, and the session with the last one failed",
                "On a line of a customer one ISP answers. A second one is somebody's server on the same cable, and takes the call.",
                [
                    "another concentrator (a router with a PPPoE server, a test set) is on the same switch or VLAN",
                    "the ISP has several, and one of them is faulty",
                ],
                &[
                    "find the stranger by its Ethernet address, and take it off",
                    "set `pppoe.ac-name` to the name of the ISP's",
                ],
            ),
            Symptom::LcpSilent => known(
                "the session is open, but nobody answers LCP on it",
                "Discovery and sessions are different kinds of frames: the second kind does not get through, or nobody reads it.",
                [
                    "a switch or firewall on the way drops PPPoE session frames (type 0x8864)",
                    "the concentrator's PPP is down or overloaded",
                ],
                &["connect the modem to the port directly", "wait, and dial again later", ASK_ISP],
            ),
            Symptom::LcpLooped => known(
                "the line is looped back: we hear ourselves",
                "What comes in bears our own magic number.",
                [
                    "a loop plug or a loop for tests at the exchange",
                    "two cables between the same switches, or a faulty modem, send our frames back",
                ],
                &[
                    "take away whatever is between modem and port, one by one",
                    "have the ISP look for a loop on the line",
                ],
            ),
            Symptom::LcpNoAgreement => known(
                "the two sides do not agree on LCP",
                "Each refuses what the other one insists on.",
                [
                    "the concentrator insists on an option that does not belong on Ethernet",
                    "`pppoe.mtu` is one that the ISP does not take",
                ],
                &["set `pppoe.mtu = 1492`", ASK_ISP],
            ),
            Symptom::LcpRefused => known(
                "the peer ends the link while LCP is negotiated",
                "It sent a Terminate-Request before LCP was open.",
                [
                    "it demands something that was refused: a way to authenticate, mostly",
                    "the concentrator has no room for another session",
                ],
                &["leave `pppoe.authentication` out of the configuration, so that all are offered", ASK_ISP],
            ),
            Symptom::NoCommonAuthentication => known(
                "the two sides have no authentication protocol in common",
                "The ISP demands a way to prove who we are that the configuration does not allow, or that genkan does not speak (EAP).",
                [
                    "`pppoe.authentication` in the configuration is narrower than what the ISP demands",
                    "the ISP demands EAP, or an old kind of CHAP",
                ],
                &["set `pppoe.authentication` to what came back, or leave it out"],
            ),
            Symptom::PapRefused => known(
                "the ISP refuses the username or password (PAP)",
                "The line is good up to the ISP's door. Name and password were compared there, and refused.",
                [
                    "the username or password has a typing error, or lacks the part behind @",
                    "the account is blocked, unpaid, or bound to another line",
                ],
                &[CREDENTIALS, ASK_ISP],
            ),
            Symptom::ChapRefused => known(
                "the ISP refuses the username or password (CHAP)",
                "The line is good up to the ISP's door. Our answer to its challenge was compared there, and refused.",
                [
                    "the username or password has a typing error, or lacks the part behind @",
                    "the account is blocked, unpaid, already online, or bound to another line",
                ],
                &[CREDENTIALS, ASK_ISP],
            ),
            Symptom::AuthenticationSilent => known(
                "the ISP does not answer name and password",
                "LCP is open, so the concentrator is there; who knows the passwords does not answer it.",
                [
                    "the ISP's RADIUS server is down or out of reach",
                    "the ISP ignores unknown names instead of refusing them",
                ],
                &["wait: genkan goes on dialling", CREDENTIALS],
            ),
            Symptom::AuthenticationEnded => known(
                "the ISP hangs up instead of answering name and password",
                "It sent a Terminate-Request while we proved who we are.",
                [
                    "the username or password is wrong, and the ISP says so by hanging up",
                    "the ISP allows one session, and another one runs",
                ],
                &[CREDENTIALS, ASK_ISP],
            ),
            Symptom::ServerNotProven => known(
                "the server does not prove that it knows the password",
                "With MS-CHAPv2 the ISP proves itself, too; it did not, and was hung up on.",
                [
                    "the password differs from the one that the ISP has, and it accepts everybody",
                    "a stranger's concentrator has answered the call",
                ],
                &[CREDENTIALS, "set `pppoe.ac-name` to the name of the ISP's concentrator"],
            ),
            Symptom::EchoTimeout => known(
                "the peer stopped answering our Echo-Requests",
                "Nothing at all came in over the session for longer than the keepalive waits, so it was ended.",
                [
                    "the line was interrupted: the modem has lost the exchange, or was restarted",
                    "the line loses so many frames that no answer comes through",
                ],
                &[
                    "look at the modem's log for losses of synchronisation, and at its error counters",
                    "raise `failures` of `pppoe.echo` if the line comes back by itself after seconds",
                ],
            ),
            Symptom::EchoLoss => known(
                "the peer leaves Echo-Requests unanswered",
                "Nothing comes in over the session at the moment. It is ended when that goes on.",
                ["the line loses frames, or is interrupted at this moment", "the concentrator is overloaded"],
                &["look at the modem's error counters"],
            ),
            Symptom::IpcpRejected => known(
                "the peer does not offer IPv4 on this session",
                "It answered IPCP with a Protocol-Reject.",
                ["the ISP offers IPv6 alone on this line (DS-Lite, MAP, 464XLAT)", "the account lacks IPv4"],
                &["ask the ISP how it carries IPv4", "set `ipv4 = false` if the line is to do without"],
            ),
            Symptom::IpcpSilent => known(
                "the peer does not answer IPCP",
                "Name and password were accepted; nobody gives an address.",
                [
                    "the ISP has no addresses left, or its address server is down",
                    "the ISP offers IPv6 alone, and does not say so",
                ],
                &["wait: genkan goes on asking", ASK_ISP],
            ),
            Symptom::IpcpNoAgreement => known(
                "the two sides do not agree on an IPv4 address",
                "The peer goes on refusing what we ask for.",
                [
                    "the ISP has no address for this account",
                    "the concentrator insists on header compression or another option",
                ],
                &[ASK_ISP],
            ),
            Symptom::IpcpEnded => known(
                "the peer closed IPv4 on this session",
                "It sent a Terminate-Request of IPCP; the session stays.",
                ["the ISP has no address for this account", "the ISP reconfigures its side"],
                &["wait: genkan goes on asking", ASK_ISP],
            ),
            Symptom::ZeroAddress => known(
                "the peer gives the address 0.0.0.0",
                "IPCP runs, and ends without an address that can be used.",
                [
                    "the ISP's pool of addresses is empty, or the account has none",
                    "the concentrator expects us to bring a fixed address of our own",
                ],
                &["wait some minutes: genkan goes on asking", ASK_ISP],
            ),
            Symptom::Ipv6cpRejected => known(
                "the peer does not offer IPv6 on this session",
                "It answered IPV6CP with a Protocol-Reject. IPv4 is not touched by that.",
                ["the ISP has no IPv6 on this kind of line", "IPv6 has to be switched on in the account"],
                &["ask the ISP to switch IPv6 on", "set `ipv6 = false` for the uplink otherwise"],
            ),
            Symptom::Ipv6cpSilent => known(
                "the peer does not answer IPV6CP",
                "IPv6 is asked for again and again; IPv4 is not touched by that.",
                [
                    "the ISP has no IPv6 on this line, and does not say so",
                    "the concentrator ignores what it does not know",
                ],
                &["ask the ISP to switch IPv6 on", "set `ipv6 = false` for the uplink otherwise"],
            ),
            Symptom::Ipv6cpNoAgreement => known(
                "the two sides do not agree on interface identifiers",
                "IPV6CP runs without an end.",
                ["the ISP insists on an identifier that is also its own", "a fault in the concentrator"],
                &[ASK_ISP],
            ),
            Symptom::Ipv6cpEnded => known(
                "the peer closed IPv6 on this session",
                "It sent a Terminate-Request of IPV6CP; the session stays.",
                ["IPv6 is switched off for this account", "the ISP reconfigures its side"],
                &["wait: genkan goes on asking", ASK_ISP],
            ),
            Symptom::Ipv6SmallMtu => known(
                "the session carries smaller packets than IPv6 needs",
                "IPv6 needs packets of 1,280 octets at least.",
                ["`pppoe.mtu` is below 1280", "the ISP's side agrees to less than 1280 in LCP"],
                &["set `pppoe.mtu = 1492`"],
            ),
            Symptom::DhcpSilent => known(
                "no DHCP server answers",
                "Our questions leave the port, and nothing comes back.",
                [
                    "the uplink is no DHCP line: it wants PPPoE, a VLAN, or a fixed address",
                    "the modem or the ISP knows the Ethernet address of the router of before, and no other",
                ],
                &[
                    "switch the modem off for some minutes, so that it forgets the router of before",
                    "set `mac` of the port to that of the router that worked before",
                    "ask the ISP for the VLAN, and set `vlan` of the port",
                ],
            ),
            Symptom::DhcpRefused => known(
                "the DHCP server refuses the address that we ask for (DHCPNAK)",
                "The address of before is not ours here any more; genkan asks for another one.",
                [
                    "the line is another one than before, or the ISP has renumbered",
                    "two DHCP servers are on the line, and contradict each other",
                ],
                &[
                    "wait a minute: any address is asked for now",
                    "look whether another router on the line serves DHCP",
                ],
            ),
            Symptom::DhcpUnusable => known(
                "the DHCP server's offer cannot be used",
                "An offer needs an address, a lease time and a default router.",
                [
                    "the server on the line is not the ISP's: it offers no default router",
                    "the server is misconfigured",
                ],
                &["look whether another router on the line serves DHCP", ASK_ISP],
            ),
            Symptom::AddressTaken => known(
                "somebody else uses the address that the DHCP server gave",
                "It was looked for by ARP and answered; it was declined.",
                [
                    "a device with a fixed address in the server's range",
                    "two DHCP servers give from the same range",
                ],
                &["find the device by its Ethernet address"],
            ),
            Symptom::LeaseLost => known(
                "the lease of our address has ended, and no server has extended it",
                "The DHCP server has not answered for as long as the lease ran.",
                ["the line or the modem is down", "the DHCP server is down"],
                &["look at the modem's lamps"],
            ),
            Symptom::PrefixRefused => known(
                "the ISP delegates no prefix (NoPrefixAvail)",
                "A DHCPv6 server is there and says that it has no prefix for us. Without one the LANs have no IPv6 of the Internet.",
                [
                    "the ISP delegates another size than `length` of `prefix-delegation` asks for, or none at all on this product",
                    "its pool is empty, or the delegation of before (to another DUID) still runs",
                ],
                &["set `prefix-delegation = {}`, which asks for whatever there is", ASK_ISP],
            ),
            Symptom::PrefixSilent => known(
                "no DHCPv6 server answers",
                "IPv6 runs on the line itself, but nobody delegates a prefix for the LANs.",
                [
                    "the ISP does not delegate prefixes on this line, or gives a fixed one",
                    "DHCPv6 is dropped on the way",
                ],
                &["ask the ISP whether it delegates a prefix by DHCPv6"],
            ),
            Symptom::PrefixUnusable => known(
                "the DHCPv6 server answers, and what it says cannot be used",
                "No prefix that can be used has come with it.",
                ["the ISP gives an address, but no prefix", "the server refuses for a reason of its own"],
                &[ASK_ISP],
            ),
            Symptom::PrefixTooSmall => known(
                "the delegated prefix is too small for the LANs",
                "Each LAN takes a /64 of its own; a /64 is one, a /60 sixteen, a /56 256.",
                [
                    "the ISP delegates a /64 unless it is asked for more",
                    "`subnet` of a LAN is a number that the prefix does not have",
                ],
                &[
                    "set `prefix-delegation = { length = 56 }` (or 60) for the uplink",
                    "give the LANs small numbers as `subnet`",
                ],
            ),
            Symptom::NoAdvertisement => known(
                "no router advertises itself on the link",
                "IPv6 on Ethernet needs a Router Advertisement: without one there is no default route.",
                ["the ISP has no IPv6 on this line", "the modem or a switch filters multicast or ICMPv6"],
                &["ask the ISP to switch IPv6 on", "set `ipv6 = false` for the uplink otherwise"],
            ),
            Symptom::MtuPort => known(
                "our own port caps the packets",
                "The device's MTU is smaller than what the uplink is to carry with its PPPoE header.",
                [
                    "the device's own MTU is 1500, and `pppoe.mtu = 1500` needs 1508",
                    "the device cannot do more",
                ],
                &["`ip link set DEVICE mtu 1508`, or set `pppoe.mtu = 1492`"],
            ),
            Symptom::MtuConcentrator => known(
                "the concentrator caps the packets at 1492",
                "It does not grant more (RFC 4638). That is the usual size, and costs half a percent.",
                [
                    "the ISP does not offer packets of 1500 octets over PPPoE",
                    "the modem removes the tag that asks for them",
                ],
                &["set `pppoe.mtu = 1492`, and nothing is lost"],
            ),
            Symptom::MtuPeer => known(
                "the ISP's side caps the packets in LCP",
                "It asked for a smaller MRU than we offered.",
                ["the ISP's own tunnel behind the concentrator needs the room", "its configuration"],
                &["set `pppoe.mtu` to what it agrees to, and nothing is lost"],
            ),
            Symptom::MtuPath => known(
                "something on the line loses larger frames (a black hole)",
                "A packet of full size was not answered, so smaller ones are used. Without that, pages would hang.",
                [
                    "the modem or a switch between us and the concentrator does not carry frames of 1508 octets",
                    "the ISP's access network does not",
                ],
                &["set `pppoe.mtu = 1492`", "raise the MTU of the modem and of every switch on the way"],
            ),
            Symptom::CarrierNat => known(
                "the address is of the ISP's own network (carrier-grade NAT, RFC 6598)",
                "The ISP translates once more: nobody outside can reach this address, so port forwards and servers do not work over IPv4.",
                ["the product has no public IPv4 address", "a public address has to be asked for"],
                &["ask the ISP for a public IPv4 address", "serve over IPv6, or through a VPN"],
            ),
            Symptom::PrivateAddress => known(
                "the address is a private one (RFC 1918)",
                "There is another router that translates in front of us: port forwards and servers do not work.",
                ["the modem is a router, and not in bridge mode", "the ISP translates (carrier-grade NAT)"],
                &["put the modem into bridge mode", "or forward the ports there, too"],
            ),
            Symptom::AddressChanges => known(
                "the address has changed often",
                "Every change ends the connections that are open.",
                [
                    "the line is interrupted again and again",
                    "the ISP gives another address with each session",
                ],
                &["look at the log for why the sessions end", "look at the modem's error counters"],
            ),
            Symptom::NoDnsServers => known(
                "the ISP has told no DNS server",
                "Names of the Internet cannot be found, addresses can be reached.",
                ["the ISP leaves DNS to its customers", "its side is misconfigured"],
                &["give the hosts a DNS server of your choice, or ask the ISP"],
            ),
            Symptom::DnsSilent => known(
                "the DNS servers do not answer",
                "Questions go out and no answer comes back; hosts say that there is no Internet.",
                [
                    "the ISP's DNS servers are down, or do not serve this line",
                    "nothing comes back at all: see reachability",
                ],
                &["`dig @9.9.9.9 example.org` tells whether others answer", ASK_ISP],
            ),
            Symptom::NoGatewayAnswer => known(
                "the default router does not answer ARP",
                "There is an address, but nobody at the other end takes our packets.",
                [
                    "the default router is down, or another one than configured",
                    "the address or the network of the uplink is wrong",
                ],
                &["compare `static` of the uplink with the ISP's letter"],
            ),
            Symptom::NothingReceived => known(
                "packets go out and none comes in",
                "The uplink has an address; traffic leaves by it and nothing has come back for a while.",
                [
                    "the ISP does not route to this address (any more)",
                    "the line has just been interrupted, and the keepalive has not found out yet",
                ],
                &["wait for the keepalive", ASK_ISP],
            ),
            Symptom::FilterRule => known(
                "a rule of the configuration forbids it",
                "The rules are asked once, for the first packet; the first one that matches decides.",
                [
                    "the rule is meant to",
                    "a rule before it was to let this pass, and does not match: zone, protocol, port or network",
                ],
                &["put a `[[filter]]` with action = \"accept\" before the one that decides"],
            ),
            Symptom::FilterDefault => known(
                "no rule and no port forward lets it in",
                "What is not asked for from inside comes in only by a port forward or a rule.",
                [
                    "there is no `[[port-forward]]` or `[[filter]]` for this port and protocol",
                    "the one that there is names another uplink, protocol or port",
                ],
                &["add a `[[port-forward]]` (IPv4), or a `[[filter]]` from wan to lan (IPv6)"],
            ),
            Symptom::DeadHost => known(
                "the rules let it pass, but the host that it goes to does not answer",
                "The router has asked for the host's Ethernet address in vain, so packets end here.",
                [
                    "the host is off or unplugged",
                    "the host has another address than the port forward or the sender believes (dead host)",
                ],
                &[
                    "ping the host from the LAN",
                    "give the host a fixed lease: `[[lan.NAME.host]]` with mac and ipv4",
                ],
            ),
            Symptom::HostQuota => known(
                "the inside host has as many flows as it may have",
                "One host cannot fill the table for all others.",
                [
                    "the host runs a program with very many connections (a torrent, a scan, malware)",
                    "flows-per-host is too small for what the host is",
                ],
                &["look at what the host does", "raise `flows-per-host` in [nat]"],
            ),
            Symptom::NatFull => known(
                "no external port is free on the uplink (NAT)",
                "Each flow to outside needs a port of the uplink's address.",
                ["very many hosts or connections share one address", "one host has opened very many"],
                &["shorten the times in [nat.timeouts]", "lower `flows-per-host` in [nat]"],
            ),
            Symptom::FlowTableFull => known(
                "the table of flows is full",
                "The router carries as many connections at once as `flows` in [nat] says.",
                ["a flood or a scan fills it", "`flows` is too small for this network"],
                &["raise `flows` in [nat]", "lower `flows-per-host`"],
            ),
            Symptom::UplinkDown => known(
                "no uplink that leads there is up",
                "The rules may let it pass; there is no line to carry it.",
                ["the uplink is down: see below why", "the uplink carries only the other version of IP"],
                &["`genkan explain FILE wan` tells what is wrong with the line"],
            ),
            Symptom::SourceWrong => known(
                "the source is no address that may send from there",
                "Packets with another's address are dropped (BCP 38).",
                [
                    "the host has an address of another network, or an old one",
                    "there is a second router behind the host's port",
                ],
                &["have the host ask for an address again"],
            ),
            Symptom::NoWay => known(
                "there is no way to the destination",
                "No LAN, VPN or uplink leads there, or it is an address that cannot be reached.",
                [
                    "the address has a typing error, or is reserved",
                    "the network is behind a VPN peer that is not there",
                ],
                &["compare the address with the networks in `genkan status`"],
            ),
            Symptom::StaleFlow => known(
                "the flow belongs to an address that the uplink no longer has",
                "It was translated in an earlier epoch; the uplink has another address since, so the connection cannot go on.",
                [
                    "the uplink was dialled again and got another address",
                    "the program in the host has not noticed yet",
                ],
                &["open the connection anew"],
            ),
            Symptom::VpnNoAnswer => known(
                "the peer does not answer our handshakes",
                "WireGuard answers nobody whom it does not know, so a wrong key looks like silence.",
                [
                    "the peer does not know our public key, or the preshared key differs (wrong key)",
                    "a firewall or NAT in front of the peer drops its UDP port, or it is off",
                ],
                &[
                    "compare our public key (`genkan status`) with what the peer's configuration has",
                    "open or forward the peer's UDP port",
                ],
            ),
            Symptom::VpnStranger => known(
                "somebody with another public key knocks in the peer's place",
                "It knows our key, and its own is no peer's: the key in the configuration is wrong, or old.",
                [
                    "the peer has another key than the configuration says (wrong key)",
                    "somebody else uses our public key",
                ],
                &[
                    "put the public key that knocks into the configuration, if the peer confirms that it is its own",
                ],
            ),
            Symptom::VpnNotOurs => known(
                "the peer answers, and its answer is not made with the keys that we know (wrong key)",
                "It is there, and does not have the private key of the public key in our configuration.",
                [
                    "the preshared key is not the same on both sides",
                    "the peer's public key in the configuration is wrong",
                ],
                &["compare both keys with the peer's"],
            ),
            Symptom::VpnImpostor => known(
                "somebody uses the peer's public key without its private one",
                "The handshake is not the peer's own.",
                ["the peer's keys do not belong together: a typing error in its private key", "an attack"],
                &["compare the keys with the peer's"],
            ),
            Symptom::VpnNoName => known(
                "the name of the peer's endpoint has no address",
                "The name was asked for, and no address came back.",
                ["the name has a typing error, or its dynamic DNS has expired", "no DNS server answers"],
                &["`dig NAME` tells which of the two", "write an address as `endpoint` for a test"],
            ),
            Symptom::VpnNoEndpoint => known(
                "it is not known where the peer is",
                "The configuration has no `endpoint`, so the peer has to call first, and has not yet.",
                [
                    "the peer is off, or calls another address or port than ours",
                    "our UDP port is not reachable from outside",
                ],
                &[
                    "set `endpoint` if the peer can be called",
                    "compare our address and `listen-port` with the peer's configuration",
                ],
            ),
            Symptom::VpnUnusableKey => known(
                "the peer's public key cannot be used (wrong key)",
                "No honest peer has such a key.",
                ["a typing error in `public-key`", "the key was cut when it was copied"],
                &["copy the key again"],
            ),
            Symptom::VpnReplayed => known(
                "the peer's handshakes are older than one that was seen before",
                "WireGuard takes no handshake whose stamp is not newer than the last one.",
                ["the peer's clock was set back", "two devices use the same key"],
                &["set the peer's clock", "give each device a key of its own"],
            ),
            Symptom::VpnClock => known(
                "the peer does not answer, and our own clock is before the year 2020",
                "A handshake bears a time stamp, and the peer takes none that is older than one that it has seen.",
                ["our clock is not set", "the clock's battery is empty"],
                &["set the clock (NTP), then start again"],
            ),
        }
    }
}
