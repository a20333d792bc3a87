//! The option negotiation automaton of RFC 1661 §4.1, as a pure table: a state and an event give the actions to take
//! and the next state. Who sends, counts and keeps time is [`super::negotiation`].

/// A state of the automaton (RFC 1661 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// Lower layer down, no Open yet.
    #[default]
    Initial,
    /// Lower layer down, Open asked for.
    Starting,
    /// Lower layer up, no Open yet.
    Closed,
    /// Open, but the negotiation has ended; only the peer begins again.
    Stopped,
    /// Closing: a Terminate-Request waits for its answer, and Closed follows.
    Closing,
    /// The same, and Stopped follows.
    Stopping,
    /// A Configure-Request was sent; neither side has acknowledged.
    ReqSent,
    /// The peer has acknowledged ours.
    AckRcvd,
    /// We have acknowledged the peer's.
    AckSent,
    /// Both sides have acknowledged.
    Opened,
}

impl State {
    /// Every state, in the order of the table.
    pub const ALL: [State; 10] = [
        State::Initial,
        State::Starting,
        State::Closed,
        State::Stopped,
        State::Closing,
        State::Stopping,
        State::ReqSent,
        State::AckRcvd,
        State::AckSent,
        State::Opened,
    ];

    /// True in the states in which the restart timer runs.
    pub const fn is_timed(self) -> bool {
        matches!(self, State::Closing | State::Stopping | State::ReqSent | State::AckRcvd | State::AckSent)
    }
}

/// What can happen to the automaton (RFC 1661 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The lower layer is up.
    Up,
    /// The lower layer is down.
    Down,
    /// Administrative Open.
    Open,
    /// Administrative Close.
    Close,
    /// TO+: the restart timer expired with its counter above zero.
    TimeoutRetry,
    /// TO-: the restart timer expired with its counter at zero.
    TimeoutGiveUp,
    /// RCR+: an acceptable Configure-Request.
    ConfigureRequestGood,
    /// RCR-: an unacceptable Configure-Request.
    ConfigureRequestBad,
    /// RCA: a Configure-Ack.
    ConfigureAck,
    /// RCN: a Configure-Nak or Configure-Reject.
    ConfigureNak,
    /// RTR: a Terminate-Request.
    TerminateRequest,
    /// RTA: a Terminate-Ack.
    TerminateAck,
    /// RUC: a packet with an unknown code.
    UnknownCode,
    /// RXJ+: a Code-Reject or Protocol-Reject that can be lived with.
    RejectPermitted,
    /// RXJ-: a Code-Reject or Protocol-Reject that cannot.
    RejectFatal,
    /// RXR: an Echo-Request, Echo-Reply or Discard-Request.
    EchoOrDiscard,
}

impl Event {
    /// Every event, in the order of the table.
    pub const ALL: [Event; 16] = [
        Event::Up,
        Event::Down,
        Event::Open,
        Event::Close,
        Event::TimeoutRetry,
        Event::TimeoutGiveUp,
        Event::ConfigureRequestGood,
        Event::ConfigureRequestBad,
        Event::ConfigureAck,
        Event::ConfigureNak,
        Event::TerminateRequest,
        Event::TerminateAck,
        Event::UnknownCode,
        Event::RejectPermitted,
        Event::RejectFatal,
        Event::EchoOrDiscard,
    ];
}

/// What the automaton does (RFC 1661 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// tlu: tell the upper layers that this one is up.
    ThisLayerUp,
    /// tld: tell the upper layers that this one is down.
    ThisLayerDown,
    /// tls: tell the lower layer that it is needed.
    ThisLayerStarted,
    /// tlf: tell the lower layer that it is needed no more.
    ThisLayerFinished,
    /// irc: set the restart counter to Max-Configure, or to Max-Terminate when a Terminate-Request comes next.
    InitializeRestartCount,
    /// zrc: set the restart counter to zero, and wait one period.
    ZeroRestartCount,
    /// scr: send a Configure-Request.
    SendConfigureRequest,
    /// sca: send a Configure-Ack.
    SendConfigureAck,
    /// scn: send a Configure-Nak or Configure-Reject.
    SendConfigureNak,
    /// str: send a Terminate-Request.
    SendTerminateRequest,
    /// sta: send a Terminate-Ack.
    SendTerminateAck,
    /// scj: send a Code-Reject.
    SendCodeReject,
    /// ser: send an Echo-Reply.
    SendEchoReply,
}

/// The table of RFC 1661 §4.1: the actions to take, in order, and the next state. `None` where the event cannot happen
/// in that state. Neither the restart option nor the passive option is used.
pub const fn transition(state: State, event: Event) -> Option<(&'static [Action], State)> {
    use Action::{
        InitializeRestartCount as IRC, SendCodeReject as SCJ, SendConfigureAck as SCA,
        SendConfigureNak as SCN, SendConfigureRequest as SCR, SendEchoReply as SER, SendTerminateAck as STA,
        SendTerminateRequest as STR, ThisLayerDown as TLD, ThisLayerFinished as TLF, ThisLayerStarted as TLS,
        ThisLayerUp as TLU, ZeroRestartCount as ZRC,
    };
    use State::{AckRcvd, AckSent, Closed, Closing, Initial, Opened, ReqSent, Starting, Stopped, Stopping};

    let result: (&'static [Action], State) = match event {
        Event::Up => match state {
            Initial => (&[], Closed),
            Starting => (&[IRC, SCR], ReqSent),
            _ => return None,
        },
        Event::Down => match state {
            Initial | Starting => return None,
            Closed | Closing => (&[], Initial),
            Stopped => (&[TLS], Starting),
            Stopping | ReqSent | AckRcvd | AckSent => (&[], Starting),
            Opened => (&[TLD], Starting),
        },
        Event::Open => match state {
            Initial => (&[TLS], Starting),
            Closed => (&[IRC, SCR], ReqSent),
            Closing => (&[], Stopping),
            _ => (&[], state),
        },
        Event::Close => match state {
            Initial => (&[], Initial),
            Starting => (&[TLF], Initial),
            Closed | Stopped => (&[], Closed),
            Closing | Stopping => (&[], Closing),
            ReqSent | AckRcvd | AckSent => (&[IRC, STR], Closing),
            Opened => (&[TLD, IRC, STR], Closing),
        },
        Event::TimeoutRetry => match state {
            Closing | Stopping => (&[STR], state),
            ReqSent | AckRcvd => (&[SCR], ReqSent),
            AckSent => (&[SCR], AckSent),
            _ => return None,
        },
        Event::TimeoutGiveUp => match state {
            Closing => (&[TLF], Closed),
            Stopping | ReqSent | AckRcvd | AckSent => (&[TLF], Stopped),
            _ => return None,
        },
        Event::ConfigureRequestGood => match state {
            Initial | Starting => return None,
            Closed => (&[STA], Closed),
            Stopped => (&[IRC, SCR, SCA], AckSent),
            Closing | Stopping => (&[], state),
            ReqSent | AckSent => (&[SCA], AckSent),
            AckRcvd => (&[SCA, TLU], Opened),
            Opened => (&[TLD, SCR, SCA], AckSent),
        },
        Event::ConfigureRequestBad => match state {
            Initial | Starting => return None,
            Closed => (&[STA], Closed),
            Stopped => (&[IRC, SCR, SCN], ReqSent),
            Closing | Stopping => (&[], state),
            ReqSent | AckSent => (&[SCN], ReqSent),
            AckRcvd => (&[SCN], AckRcvd),
            Opened => (&[TLD, SCR, SCN], ReqSent),
        },
        Event::ConfigureAck => match state {
            Initial | Starting => return None,
            Closed | Stopped => (&[STA], state),
            Closing | Stopping => (&[], state),
            ReqSent => (&[IRC], AckRcvd),
            AckRcvd => (&[SCR], ReqSent),
            AckSent => (&[IRC, TLU], Opened),
            Opened => (&[TLD, SCR], ReqSent),
        },
        Event::ConfigureNak => match state {
            Initial | Starting => return None,
            Closed | Stopped => (&[STA], state),
            Closing | Stopping => (&[], state),
            ReqSent => (&[IRC, SCR], ReqSent),
            AckRcvd => (&[SCR], ReqSent),
            AckSent => (&[IRC, SCR], AckSent),
            Opened => (&[TLD, SCR], ReqSent),
        },
        Event::TerminateRequest => match state {
            Initial | Starting => return None,
            Closed | Stopped | Closing | Stopping => (&[STA], state),
            ReqSent | AckRcvd | AckSent => (&[STA], ReqSent),
            Opened => (&[TLD, ZRC, STA], Stopping),
        },
        Event::TerminateAck => match state {
            Initial | Starting => return None,
            Closed | Stopped | ReqSent | AckSent => (&[], state),
            Closing => (&[TLF], Closed),
            Stopping => (&[TLF], Stopped),
            AckRcvd => (&[], ReqSent),
            Opened => (&[TLD, SCR], ReqSent),
        },
        Event::UnknownCode => match state {
            Initial | Starting => return None,
            _ => (&[SCJ], state),
        },
        Event::RejectPermitted => match state {
            Initial | Starting => return None,
            AckRcvd => (&[], ReqSent),
            _ => (&[], state),
        },
        Event::RejectFatal => match state {
            Initial | Starting => return None,
            Closed | Closing => (&[TLF], Closed),
            Stopped | Stopping | ReqSent | AckRcvd | AckSent => (&[TLF], Stopped),
            Opened => (&[TLD, IRC, STR], Stopping),
        },
        Event::EchoOrDiscard => match state {
            Initial | Starting => return None,
            Opened => (&[SER], Opened),
            _ => (&[], state),
        },
    };
    Some(result)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    /// RFC 1661 §4.1, both halves of the table side by side; "r", "p" and "x" are its remarks on options.
    const TABLE: &str = "
        Up    2        irc,scr/6 -     -             -     -      -         -         -         -
        Down  -        -         0     tls/1         0     1      1         1         1         tld/1
        Open  tls/1    1     irc,scr/6 3r            5r    5r     6         7         8         9r
        Close 0        tlf/0     2     2             4     4      irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4
        TO+   -        -         -     -             str/4 str/5  scr/6     scr/6     scr/8     -
        TO-   -        -         -     -             tlf/2 tlf/3  tlf/3p    tlf/3p    tlf/3p    -
        RCR+  -        -         sta/2 irc,scr,sca/8 4     5      sca/8     sca,tlu/9 sca/8     tld,scr,sca/8
        RCR-  -        -         sta/2 irc,scr,scn/6 4     5      scn/6     scn/7     scn/6     tld,scr,scn/6
        RCA   -        -         sta/2 sta/3         4     5      irc/7     scr/6x    irc,tlu/9 tld,scr/6x
        RCN   -        -         sta/2 sta/3         4     5      irc,scr/6 scr/6x    irc,scr/8 tld,scr/6x
        RTR   -        -         sta/2 sta/3         sta/4 sta/5  sta/6     sta/6     sta/6     tld,zrc,sta/5
        RTA   -        -         2     3             tlf/2 tlf/3  6         6         8         tld,scr/6
        RUC   -        -         scj/2 scj/3         scj/4 scj/5  scj/6     scj/7     scj/8     scj/9
        RXJ+  -        -         2     3             4     5      6         6         8         9
        RXJ-  -        -         tlf/2 tlf/3         tlf/2 tlf/3  tlf/3     tlf/3     tlf/3     tld,irc,str/5
        RXR   -        -         2     3             4     5      6         7         8         ser/9
    ";

    fn written(state: State, event: Event) -> String {
        let Some((actions, next)) = transition(state, event) else { return "-".into() };
        let names: Vec<&str> = actions
            .iter()
            .map(|action| match action {
                Action::ThisLayerUp => "tlu",
                Action::ThisLayerDown => "tld",
                Action::ThisLayerStarted => "tls",
                Action::ThisLayerFinished => "tlf",
                Action::InitializeRestartCount => "irc",
                Action::ZeroRestartCount => "zrc",
                Action::SendConfigureRequest => "scr",
                Action::SendConfigureAck => "sca",
                Action::SendConfigureNak => "scn",
                Action::SendTerminateRequest => "str",
                Action::SendTerminateAck => "sta",
                Action::SendCodeReject => "scj",
                Action::SendEchoReply => "ser",
            })
            .collect();
        let number = State::ALL.iter().position(|&s| s == next).unwrap();
        if names.is_empty() { format!("{number}") } else { format!("{}/{number}", names.join(",")) }
    }

    /// rfc1661_4_1: each of the 160 cells.
    /// RFC 1661 STATE-TABLE.
    #[test]
    fn rfc1661_4_1_every_cell_is_as_the_table_says() {
        let rows: Vec<&str> = TABLE.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(rows.len(), Event::ALL.len());
        let mut cells = 0;
        for (row, event) in rows.into_iter().zip(Event::ALL) {
            let mut columns = row.split_whitespace();
            let name = columns.next().unwrap();
            for state in State::ALL {
                let cell = columns.next().unwrap().trim_end_matches(['r', 'p', 'x']);
                assert_eq!(written(state, event), cell, "{name} in {state:?}");
                cells += 1;
            }
            assert_eq!(columns.next(), None);
        }
        assert_eq!(cells, 160);
    }

    #[test]
    fn at_most_one_word_to_the_layers_in_a_transition() {
        for state in State::ALL {
            for event in Event::ALL {
                let Some((actions, _)) = transition(state, event) else { continue };
                let told = actions.iter().filter(|action| {
                    matches!(
                        action,
                        Action::ThisLayerUp
                            | Action::ThisLayerDown
                            | Action::ThisLayerStarted
                            | Action::ThisLayerFinished
                    )
                });
                assert!(told.count() <= 1, "{event:?} in {state:?}");
            }
        }
    }
}
