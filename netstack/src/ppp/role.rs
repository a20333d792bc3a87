//! Which side of a link we are.

use alloc::sync::Arc;

use super::ipv6cp::InterfaceId;
use super::settings::{ClientSettings, ServerSettings, Timing};
use crate::settings::{Authentication, Echo};

/// Which side of a link we are, with what that side is told to be.
#[derive(Debug, Clone)]
pub(super) enum Role {
    /// We dial.
    Client(Arc<ClientSettings>),
    /// We are dialled.
    Server(Arc<ServerSettings>),
}

impl Role {
    pub(super) fn timing(&self) -> &Timing {
        match self {
            Role::Client(settings) => &settings.timing,
            Role::Server(settings) => &settings.timing,
        }
    }

    pub(super) fn echo(&self) -> Echo {
        match self {
            Role::Client(settings) => settings.echo,
            Role::Server(settings) => settings.echo,
        }
    }

    pub(super) fn mru(&self) -> u16 {
        match self {
            Role::Client(settings) => settings.mru,
            Role::Server(settings) => settings.mru,
        }
    }

    /// Authentication protocols, the preferred one first.
    pub(super) fn authentication(&self) -> &[Authentication] {
        match self {
            Role::Client(settings) => &settings.authentication,
            Role::Server(settings) => &settings.authentication,
        }
    }

    pub(super) fn speaks_ipv4(&self) -> bool {
        match self {
            Role::Client(settings) => settings.ipv4,
            Role::Server(_) => true,
        }
    }

    /// The interface identifier to ask for; `None` when IPv6 is not spoken.
    pub(super) fn ipv6(&self) -> Option<InterfaceId> {
        match self {
            Role::Client(settings) => settings.ipv6,
            Role::Server(settings) => settings.ipv6,
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self, Role::Client(_))
    }
}
