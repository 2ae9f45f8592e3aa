//! The objects that a pickle builds, as data.
//!
//! A pickle is a program, with instructions such as "import this name" and "call it": loading one
//! in Python runs whatever its author liked. Here these two only leave a record, [`Object::Global`]
//! and [`Object::Call`], and the reader of the data recognizes the calls that it knows. The machine
//! that makes the data is in `unpickle`, the data's types are in `pickle_value`.

use super::bounds::printable;
use super::pickle_value::{Object, ObjectId, PickledCall};
use super::unpickle::unpickle;
use std::collections::HashSet;

/// A pickle's objects.
pub(super) struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    /// The object that the pickle stands for, or the reason why there is none.
    pub(super) root: Result<ObjectId, String>,
}

/// Access to objects: each is `None` if the object is of another kind.
impl<'a> Pickle<'a> {
    /// Reads the pickle that begins at byte `at`, and moves `at` behind it.
    pub(super) fn read(bytes: &'a [u8], at: &mut usize) -> Self {
        let (objects, root) = unpickle(bytes, at);
        Self { objects, root }
    }

    pub(super) fn object(&self, id: ObjectId) -> &Object<'a> {
        // Numbers come from this pickle's own machine.
        &self.objects[id.0 as usize]
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = (ObjectId, &Object<'a>)> {
        self.objects.iter().enumerate().map(|(i, object)| (ObjectId(i as u32), object))
    }

    pub(super) fn text(&self, id: ObjectId) -> Option<&str> {
        if let Object::Text(text) = self.object(id) { Some(text) } else { None }
    }

    pub(super) fn int(&self, id: ObjectId) -> Option<i64> {
        if let Object::Int(value) = *self.object(id) { Some(value) } else { None }
    }

    /// The elements of a tuple or a list.
    pub(super) fn elements(&self, id: ObjectId) -> Option<&[ObjectId]> {
        if let Object::Tuple(elements) | Object::List(elements) = self.object(id) {
            Some(elements)
        } else {
            None
        }
    }

    /// Module and name of an imported name.
    pub(super) fn global(&self, id: ObjectId) -> Option<(&str, &str)> {
        let Object::Global { module, name } = *self.object(id) else { return None };
        Some((self.text(module)?, self.text(name)?))
    }

    /// A call of an imported name: module and name, arguments, and the call itself.
    pub(super) fn call(&self, id: ObjectId) -> Option<((&str, &str), &[ObjectId], &PickledCall)> {
        let Object::Call(call) = self.object(id) else { return None };
        Some((self.global(call.callable)?, self.elements(call.args)?, call))
    }
}

/// Descriptions of objects.
impl Pickle<'_> {
    /// Every imported name that is not `allowed`, with the arguments of its call; the first
    /// hundred.
    pub(super) fn refused(&self, allowed: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let is_refused =
            |id: ObjectId| self.global(id).is_none_or(|(module, name)| !allowed(module, name));
        let (mut called, mut refused, mut count) = (HashSet::new(), Vec::new(), 0);
        let calls = self.objects().filter_map(|(id, object)| match object {
            Object::Call(call) if is_refused(call.callable) => Some((id, call.callable)),
            _ => None,
        });
        let calls: Vec<(ObjectId, ObjectId)> = calls.collect();
        called.extend(calls.iter().map(|&(_, callable)| callable));
        let named = self.objects().filter(|&(id, object)| {
            matches!(object, Object::Global { .. }) && is_refused(id) && !called.contains(&id)
        });
        let named: Vec<ObjectId> = named.map(|(id, _)| id).collect();
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
    pub(super) fn describe(&self, id: ObjectId) -> String {
        let mut out = String::new();
        self.write(id, 5, &mut out);
        out
    }

    fn write(&self, id: ObjectId, depth: usize, out: &mut String) {
        if depth == 0 || out.len() > 300 {
            return out.push('…');
        }
        match self.object(id) {
            Object::None => out.push_str("None"),
            Object::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
            Object::Int(value) => out.push_str(&value.to_string()),
            Object::Long(_) => out.push_str("a long integer"),
            Object::Float(value) => out.push_str(&format!("{value:?}")),
            Object::Text(text) => out.push_str(&format!("'{}'", printable(text))),
            Object::Bytes(bytes) => {
                out.push_str(&format!("b'{}'", bytes[..bytes.len().min(80)].escape_ascii()))
            }
            Object::Tuple(elements) => {
                self.write_all("(", elements.iter().map(|&id| (None, id)), ")", depth, out)
            }
            Object::List(elements) => {
                self.write_all("[", elements.iter().map(|&id| (None, id)), "]", depth, out)
            }
            Object::Dict(items) => {
                self.write_all("{", items.iter().map(|&(k, v)| (Some(k), v)), "}", depth, out)
            }
            Object::Global { module, name } => {
                for (part, end) in [(module, "."), (name, "")] {
                    match self.text(*part) {
                        Some(text) => out.push_str(&printable(text)),
                        None => self.write(*part, depth - 1, out),
                    }
                    out.push_str(end);
                }
            }
            Object::Call(call) => {
                self.write(call.callable, depth - 1, out);
                let args = self.elements(call.args).unwrap_or(std::slice::from_ref(&call.args));
                self.write_all("(", args.iter().map(|&id| (None, id)), ")", depth, out);
            }
            Object::Persistent(id) => {
                out.push_str("storage ");
                self.write(*id, depth - 1, out);
            }
        }
    }

    fn write_all(
        &self,
        open: &str,
        items: impl ExactSizeIterator<Item = (Option<ObjectId>, ObjectId)>,
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
