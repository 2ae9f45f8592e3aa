//! The objects that a pickle builds, as data.
//!
//! A pickle is a program, with instructions such as "import this name" and "call it": loading one
//! in Python runs whatever its author liked. Here these two only leave a record, [`Node::Global`]
//! and [`Node::Call`], and the reader of the data recognizes the calls that it knows. The machine
//! that makes the data is in `unpickle`, the data's types are in `pickle_value`.

use super::bounds::printable;
use super::pickle_value::{Call, Id, Node};
use super::unpickle::unpickle;
use std::collections::HashSet;

/// A pickle's objects.
pub(super) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    /// The object that the pickle stands for, or the reason why there is none.
    pub(super) root: Result<Id, String>,
}

/// Access to objects: each is `None` if the object is of another kind.
impl<'a> Pickle<'a> {
    /// Reads the pickle that begins at byte `at`, and moves `at` behind it.
    pub(super) fn read(bytes: &'a [u8], at: &mut usize) -> Self {
        let (nodes, root) = unpickle(bytes, at);
        Self { nodes, root }
    }

    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        // Numbers come from this pickle's own machine.
        &self.nodes[id.0 as usize]
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (Id, &Node<'a>)> {
        self.nodes.iter().enumerate().map(|(i, node)| (Id(i as u32), node))
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        if let Node::Text(text) = self.node(id) { Some(text) } else { None }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        if let Node::Int(value) = *self.node(id) { Some(value) } else { None }
    }

    /// The elements of a tuple or a list.
    pub(super) fn elements(&self, id: Id) -> Option<&[Id]> {
        if let Node::Tuple(elements) | Node::List(elements) = self.node(id) {
            Some(elements)
        } else {
            None
        }
    }

    /// Module and name of an imported name.
    pub(super) fn global(&self, id: Id) -> Option<(&str, &str)> {
        let Node::Global { module, name } = *self.node(id) else { return None };
        Some((self.text(module)?, self.text(name)?))
    }

    /// A call of an imported name: module and name, arguments, and the call itself.
    pub(super) fn call(&self, id: Id) -> Option<((&str, &str), &[Id], &Call)> {
        let Node::Call(call) = self.node(id) else { return None };
        Some((self.global(call.callable)?, self.elements(call.args)?, call))
    }
}

/// Descriptions of objects.
impl Pickle<'_> {
    /// Every imported name that is not `allowed`, with the arguments of its call; the first
    /// hundred.
    pub(super) fn refused(&self, allowed: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let is_refused =
            |id: Id| self.global(id).is_none_or(|(module, name)| !allowed(module, name));
        let (mut called, mut refused, mut count) = (HashSet::new(), Vec::new(), 0);
        let calls = self.nodes().filter_map(|(id, node)| match node {
            Node::Call(call) if is_refused(call.callable) => Some((id, call.callable)),
            _ => None,
        });
        let calls: Vec<(Id, Id)> = calls.collect();
        called.extend(calls.iter().map(|&(_, callable)| callable));
        let named = self.nodes().filter(|&(id, node)| {
            matches!(node, Node::Global { .. }) && is_refused(id) && !called.contains(&id)
        });
        let named: Vec<Id> = named.map(|(id, _)| id).collect();
        for id in calls.iter().map(|&(id, _)| id).chain(named) {
            count += 1;
            if count > 100 {
                continue;
            }
            let text = self.describe(id);
            if !refused.contains(&text) {
                refused.push(text);
            }
        }
        if count > 100 {
            refused.push(format!("{} more", count - 100));
        }
        refused
    }

    /// The object as Python would write it, in a few hundred characters at most.
    pub(super) fn describe(&self, id: Id) -> String {
        let mut out = String::new();
        self.write(id, 5, &mut out);
        out
    }

    fn write(&self, id: Id, depth: usize, out: &mut String) {
        if depth == 0 || out.len() > 300 {
            return out.push('…');
        }
        match self.node(id) {
            Node::None => out.push_str("None"),
            Node::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
            Node::Int(value) => out.push_str(&value.to_string()),
            Node::Long(_) => out.push_str("a long integer"),
            Node::Float(value) => out.push_str(&format!("{value:?}")),
            Node::Text(text) => out.push_str(&format!("'{}'", printable(text))),
            Node::Bytes(bytes) => {
                out.push_str(&format!("b'{}'", bytes[..bytes.len().min(80)].escape_ascii()))
            }
            Node::Tuple(elements) => {
                self.write_all("(", elements.iter().map(|&id| (None, id)), ")", depth, out)
            }
            Node::List(elements) => {
                self.write_all("[", elements.iter().map(|&id| (None, id)), "]", depth, out)
            }
            Node::Dict(items) => {
                self.write_all("{", items.iter().map(|&(k, v)| (Some(k), v)), "}", depth, out)
            }
            Node::Global { module, name } => {
                for (part, end) in [(module, "."), (name, "")] {
                    match self.text(*part) {
                        Some(text) => out.push_str(&printable(text)),
                        None => self.write(*part, depth - 1, out),
                    }
                    out.push_str(end);
                }
            }
            Node::Call(call) => {
                self.write(call.callable, depth - 1, out);
                let args = self.elements(call.args).unwrap_or(std::slice::from_ref(&call.args));
                self.write_all("(", args.iter().map(|&id| (None, id)), ")", depth, out);
            }
            Node::Persistent(id) => {
                out.push_str("storage ");
                self.write(*id, depth - 1, out);
            }
        }
    }

    fn write_all(
        &self,
        open: &str,
        items: impl ExactSizeIterator<Item = (Option<Id>, Id)>,
        close: &str,
        depth: usize,
        out: &mut String,
    ) {
        const SHOWN: usize = 8;
        let more = items.len() > SHOWN;
        out.push_str(open);
        for (i, (key, value)) in items.take(SHOWN).enumerate() {
            out.push_str(if i == 0 { "" } else { ", " });
            if let Some(key) = key {
                self.write(key, depth - 1, out);
                out.push_str(": ");
            }
            self.write(value, depth - 1, out);
        }
        out.push_str(if more { ", …" } else { "" });
        out.push_str(close);
    }
}
