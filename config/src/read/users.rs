//! The users file of a concentrator: `[[user]]` tables, mode 0600, for it holds passwords.

use std::net::Ipv4Addr;

use genkan_netstack::id::Ipv6Cidr;
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{PrefixPool, User};

use super::lan::Once;
use super::{Cx, parse, secret};
use crate::reader::{Node, Table};
use crate::report::Source;
use crate::value;

/// What the concentrator has, that its users cannot have for themselves or must have from it.
#[derive(Clone, Copy)]
pub(super) struct Ours {
    /// Its own address.
    pub(super) address: Option<Ipv4Addr>,
    /// Where users' prefixes come from, when it delegates any; `None` inside when that is wrong.
    pub(super) prefix_pool: Option<Option<PrefixPool>>,
}

/// The users in the file that `node` names. Its errors are reported as its own.
pub(super) fn load(node: Node, ours: Ours, cx: &Cx) -> Option<Vec<User>> {
    let path = cx.path(node)?;
    let content = secret::read(node, &path, cx)?.content;
    let Ok(text) = String::from_utf8(content) else {
        return node.fail(
            format!("`{}`: {} is not UTF-8 text", node.key, path.display()),
            "save it in UTF-8".to_owned(),
        );
    };
    let source = Source { path, text, confidential: true };
    // The configuration file is the report's first source.
    let index = cx.elsewhere.borrow().sources.len() + 1;
    let (users, diagnostics) = parse(&source, index, |table| read(table, ours, cx));
    if !diagnostics.is_empty() {
        let mut elsewhere = cx.elsewhere.borrow_mut();
        elsewhere.sources.push(source);
        elsewhere.diagnostics.extend(diagnostics);
    }
    users.flatten()
}

fn read(table: &Table, ours: Ours, cx: &Cx) -> Option<Vec<User>> {
    let mut names = Once::new("name");
    let mut addresses = Once::new("ipv4");
    let mut prefixes = Once::new("prefix");
    let tables = table.each("user");
    if tables.is_empty() && !table.has("user") {
        table.sink.whole(
            "there is no user: nobody could come in",
            "add a [[user]] with name and password".to_owned(),
        );
    }
    let users: Vec<Option<User>> = (tables.into_iter())
        .map(|node| {
            node.table("user", |t| {
                let user = user(t, ours, cx)?;
                names.check(t, user.name.clone(), &format!("{:?}", user.name));
                user.ipv4.inspect(|ipv4| addresses.check(t, *ipv4, &ipv4.to_string()));
                user.prefix.inspect(|prefix| prefixes.check(t, *prefix, &prefix.to_string()));
                Some(user)
            })
            .flatten()
        })
        .collect();
    users.into_iter().collect()
}

fn user(table: &Table, ours: Ours, cx: &Cx) -> Option<User> {
    let name = table.required("name", "name = \"user@isp.example\"", value::bounded(1..=255));
    let inline =
        table.get("password").map(|node| value::bounded(1..=secret::LONGEST_PASSWORD)(node).map(Secret::new));
    let in_file = table.get("password-file").map(|node| secret::load(node, cx));
    let password = match (inline, in_file) {
        (Some(password), None) | (None, Some(password)) => password,
        (Some(_), Some(_)) => {
            let help = "delete one of them";
            table.sink.error(&table.span, "`user` has both `password` and `password-file`", help);
            None
        }
        (None, None) => table.missing("password", "password = \"…\""),
    };
    let ipv4 = table.optional("ipv4", |node| {
        let address = value::ipv4(node)?;
        if Some(address) == ours.address {
            let help = "write another, or leave the key out";
            return node.fail(format!("`ipv4`: {address} is the concentrator's own address"), help);
        }
        Some(address)
    });
    let prefix = table.optional("prefix", |node| prefix(node, ours.prefix_pool));
    Some(User { name: name?, password: password?, ipv4, prefix })
}

/// A part of the pool, of the length that every subscriber gets.
fn prefix(node: Node, pool: Option<Option<PrefixPool>>) -> Option<Ipv6Cidr> {
    let prefix = value::ipv6_prefix(node)?;
    let Some(pool) = pool else {
        let help = "add prefix-pool = { … } to the concentrator, or leave the key out";
        node.sink.absence(&node.span(), "`prefix`: the concentrator delegates no prefixes", help);
        return None;
    };
    let PrefixPool { prefix: whole, delegate } = pool?;
    let example = Ipv6Cidr { prefix: delegate, ..whole };
    if prefix.prefix != delegate {
        let message = format!("`prefix`: {prefix} is no /{delegate}, which every subscriber gets");
        return node.fail(message, format!("write a prefix like \"{example}\""));
    }
    if !whole.covers(prefix) {
        let message = format!("`prefix`: {prefix} is not in the pool {whole}");
        return node.fail(message, format!("write a prefix like \"{example}\""));
    }
    Some(prefix)
}
