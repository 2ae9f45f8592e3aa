//! An unpickler that calls nothing.
//!
//! A pickle is a program for a stack machine, and among its instructions are "import this name" and "call it": loading one
//! in Python runs whatever its author liked. Here these two only leave a note, [`Node::Global`] and [`Node::Call`]. A pickle
//! becomes data, and whoever reads the data recognises the calls that mean something to it.
//!
//! Objects are numbered in one flat list and refer to each other by number. So sharing and cycles cost nothing, however they
//! are nested, nothing recurses when they are dropped, and memory is bounded by the length of the pickle.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Most objects that a pickle may build, keep or have on its stack: dozens of times what a large training checkpoint has.
const MOST_OBJECTS: usize = 1 << 21;

/// Longest pickle, bytes; storages are not inside it.
const LONGEST: usize = 1 << 28;

/// The number of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// An object. Sets are lists here, and byte arrays bytes.
#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, as it is written: little-endian bytes, or decimal digits.
    Long(&'a [u8]),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An imported name.
    Global {
        module: Id,
        name: Id,
    },
    /// What would be called, and what would be done to the result.
    Call(Box<Call>),
    /// What the file has outside the pickle: a storage.
    Persistent(Id),
}

/// A call that was not made.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) callable: Id,
    /// A tuple, in pickles that make sense.
    pub(super) args: Id,
    /// Entries to be set on the result: an `OrderedDict` is filled like this.
    pub(super) items: Vec<(Id, Id)>,
    /// Attributes to be set on the result.
    pub(super) state: Option<Id>,
}

/// A pickle's objects.
pub(super) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    /// The object that the pickle stands for, or why it stands for none.
    pub(super) root: Result<Id, String>,
}

/// Looking at objects: each is `None` if the object is of another kind.
impl<'a> Pickle<'a> {
    /// Reads the pickle that begins at byte `at`, and moves `at` behind it.
    pub(super) fn read(bytes: &'a [u8], at: &mut usize) -> Self {
        let mut machine = Machine { bytes, at: *at, nodes: vec![], stack: vec![], marks: vec![], memo: HashMap::new() };
        let root = machine.run().map_err(|reason| format!("{reason} (byte {} of the pickle)", machine.at - *at));
        *at = machine.at;
        Self { nodes: machine.nodes, root }
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
        if let Node::Tuple(elements) | Node::List(elements) = self.node(id) { Some(elements) } else { None }
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

/// Speaking of objects.
impl Pickle<'_> {
    /// Every name that is not `allowed`, with the arguments it would be called with; the first hundred.
    pub(super) fn refused(&self, allowed: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let is_refused = |id: Id| self.global(id).map_or(true, |(module, name)| !allowed(module, name));
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
            Node::Text(text) => out.push_str(&format!("'{}'", super::printable(text))),
            Node::Bytes(bytes) => out.push_str(&format!("b'{}'", bytes[..bytes.len().min(80)].escape_ascii())),
            Node::Tuple(elements) => self.write_all("(", elements.iter().map(|&id| (None, id)), ")", depth, out),
            Node::List(elements) => self.write_all("[", elements.iter().map(|&id| (None, id)), "]", depth, out),
            Node::Dict(items) => self.write_all("{", items.iter().map(|&(k, v)| (Some(k), v)), "}", depth, out),
            Node::Global { module, name } => {
                for (part, end) in [(module, "."), (name, "")] {
                    match self.text(*part) {
                        Some(text) => out.push_str(&super::printable(text)),
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

/// The stack machine.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// How high the stack was at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

type Step<T = ()> = Result<T, String>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<Id> {
        let start = self.at;
        loop {
            let op = self.number(1)? as u8;
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
            let held = [self.nodes.len(), self.stack.len(), self.marks.len(), self.memo.len()];
            if held.into_iter().any(|count| count > MOST_OBJECTS) || self.at - start > LONGEST {
                return Err("this is far more than weights need".into());
            }
        }
    }

    /// One instruction, under the names of Python's `pickletools`.
    fn step(&mut self, op: u8) -> Step {
        match op {
            // PROTO, FRAME: nothing depends on them.
            0x80 | 0x95 => self.number(if op == 0x80 { 1 } else { 8 }).map(drop),

            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => self.pop_mark().map(drop),
            b'0' => self.pop().map(drop),
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }

            // PUT, BINPUT, LONG_BINPUT, MEMOIZE; GET, BINGET, LONG_BINGET
            b'p' | b'q' | b'r' | 0x94 => {
                let key = match op {
                    0x94 => self.memo.len() as u64,
                    _ => self.index(op, *b"pqr")?,
                };
                let top = self.top()?;
                self.memo.insert(key, top);
                Ok(())
            }
            b'g' | b'h' | b'j' => {
                let key = self.index(op, *b"ghj")?;
                let id = *self.memo.get(&key).ok_or_else(|| format!("object {key} is fetched but was never kept"))?;
                self.stack.push(id);
                Ok(())
            }

            // TUPLE, TUPLE1 to TUPLE3, LIST, FROZENSET, DICT
            b't' | 0x85..=0x87 | b'l' | 0x91 => {
                let elements = match op {
                    0x85..=0x87 => self.pop_many(usize::from(op - 0x84))?,
                    _ => self.pop_mark()?,
                };
                self.push(if matches!(op, b'l' | 0x91) { Node::List(elements) } else { Node::Tuple(elements) })
            }
            b'd' => {
                let items = pairs(self.pop_mark()?)?;
                self.push(Node::Dict(items))
            }
            // APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
            b'a' => {
                let value = self.pop()?;
                self.append(vec![value])
            }
            b'e' | 0x90 => {
                let values = self.pop_mark()?;
                self.append(values)
            }
            b's' => {
                let items = pairs(self.pop_many(2)?)?;
                self.set(items)
            }
            b'u' => {
                let items = pairs(self.pop_mark()?)?;
                self.set(items)
            }

            b'c' | b'i' | 0x93 | 0x82..=0x84 => self.import(op),
            b'R' | b'o' | 0x81 | 0x92 | b'b' => self.invoke(op),

            // PERSID, BINPERSID
            b'P' => {
                let line = self.line()?;
                let id = self.add(Node::Text(String::from_utf8_lossy(line)));
                self.push(Node::Persistent(id))
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id))
            }
            _ => {
                let value = self.value(op)?;
                self.push(value)
            }
        }
    }

    /// A plain value: numbers, texts, bytes, and what is empty.
    fn value(&mut self, op: u8) -> Step<Node<'a>> {
        Ok(match op {
            b'N' => Node::None,
            // NEWTRUE, NEWFALSE
            0x88 | 0x89 => Node::Bool(op == 0x88),
            b')' => Node::Tuple(vec![]),
            // EMPTY_LIST, EMPTY_SET
            b']' | 0x8F => Node::List(vec![]),
            b'}' => Node::Dict(vec![]),

            // INT, LONG, FLOAT: a line of text. BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT: bytes.
            b'I' | b'L' => {
                let line = self.line()?;
                match line.strip_suffix(b"L").unwrap_or(line) {
                    b"00" => Node::Bool(false),
                    b"01" => Node::Bool(true),
                    digits => match ascii(digits).and_then(|text| text.parse().ok()) {
                        Some(value) => Node::Int(value),
                        None => Node::Long(digits),
                    },
                }
            }
            b'F' => Node::Float(ascii(self.line()?).and_then(|text| text.parse().ok()).ok_or("a float is no number")?),
            b'J' => Node::Int(i64::from(self.number(4)? as u32 as i32)),
            b'K' | b'M' => Node::Int(self.number(if op == b'K' { 1 } else { 2 })? as i64),
            0x8A => self.long(1)?,
            0x8B => self.long(4)?,
            b'G' => Node::Float(f64::from_bits(self.number(8)?.swap_bytes())),

            // STRING, UNICODE: a line of text, whose escapes stay as they are written, for names of parameters need none.
            b'S' => {
                let line = self.line()?;
                let quoted = line.len() >= 2 && line[0] == line[line.len() - 1];
                Node::Text(String::from_utf8_lossy(if quoted { &line[1..line.len() - 1] } else { line }))
            }
            b'V' => Node::Text(String::from_utf8_lossy(self.line()?)),
            // SHORT_BINSTRING, BINSTRING, SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            b'U' | b'T' | 0x8C | b'X' | 0x8D => {
                let size = match op {
                    b'U' | 0x8C => 1,
                    b'T' | b'X' => 4,
                    _ => 8,
                };
                Node::Text(String::from_utf8_lossy(self.counted(size)?))
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => Node::Bytes(self.counted(1)?),
            b'B' => Node::Bytes(self.counted(4)?),
            0x8E | 0x96 => Node::Bytes(self.counted(8)?),
            _ => return Err(format!("0x{op:02X} is no instruction that weights need")),
        })
    }

    /// GLOBAL, STACK_GLOBAL, EXT1, EXT2, EXT4, and INST, which also calls: notes of a name.
    fn import(&mut self, op: u8) -> Step {
        let [module, name] = match op {
            0x93 => {
                let name = self.pop()?;
                [self.pop()?, name]
            }
            0x82..=0x84 => {
                let code = self.number([1, 2, 4][usize::from(op - 0x82)])?;
                let module = self.add(Node::Text("copyreg extension".into()));
                [module, self.add(Node::Text(code.to_string().into()))]
            }
            _ => {
                let (module, name) = (self.line()?, self.line()?);
                let module = self.add(Node::Text(String::from_utf8_lossy(module)));
                [module, self.add(Node::Text(String::from_utf8_lossy(name)))]
            }
        };
        if op != b'i' {
            return self.push(Node::Global { module, name });
        }
        let callable = self.add(Node::Global { module, name });
        let args = self.pop_mark()?;
        let args = self.add(Node::Tuple(args));
        self.push_call(callable, args)
    }

    /// REDUCE, OBJ, NEWOBJ, NEWOBJ_EX, BUILD: notes of a call, or of what would be done to its result.
    fn invoke(&mut self, op: u8) -> Step {
        if op == b'b' {
            let state = self.pop()?;
            let top = self.top()?;
            return match &mut self.nodes[top.0 as usize] {
                Node::Call(call) => {
                    call.state = Some(state);
                    Ok(())
                }
                _ => Err("attributes are set on what has none".into()),
            };
        }
        let (callable, args) = match op {
            b'o' => {
                let all = self.pop_mark()?;
                let (&callable, args) = all.split_first().ok_or("nothing is called")?;
                (callable, self.add(Node::Tuple(args.to_vec())))
            }
            0x92 => {
                let all = self.pop_many(3)?;
                (all[0], self.add(Node::Tuple(all[1..].to_vec())))
            }
            _ => {
                let args = self.pop()?;
                (self.pop()?, args)
            }
        };
        match self.nodes[callable.0 as usize] {
            Node::Global { .. } | Node::Call(_) => self.push_call(callable, args),
            _ => Err("what is called is no function".into()),
        }
    }

    fn push_call(&mut self, callable: Id, args: Id) -> Step {
        self.push(Node::Call(Box::new(Call { callable, args, items: vec![], state: None })))
    }

    fn append(&mut self, values: Vec<Id>) -> Step {
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::List(elements) => elements.extend(values),
            // A list of some kind of its own, which nobody here asks for the elements of.
            Node::Call(_) => {}
            _ => return Err("elements are added to what is no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, new: Vec<(Id, Id)>) -> Step {
        let top = self.top()?;
        match &mut self.nodes[top.0 as usize] {
            Node::Dict(items) => items.extend(new),
            Node::Call(call) => call.items.extend(new),
            _ => return Err("entries are set on what is no dictionary".into()),
        }
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) -> Step {
        let id = self.add(node);
        self.stack.push(id);
        Ok(())
    }

    fn add(&mut self, node: Node<'a>) -> Id {
        self.nodes.push(node);
        Id((self.nodes.len() - 1) as u32)
    }

    /// The top of the stack, which must lie above the last mark.
    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(|| "something is taken from an empty stack".into())
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Id>> {
        let mut all = (0..count).map(|_| self.pop()).collect::<Step<Vec<Id>>>()?;
        all.reverse();
        Ok(all)
    }

    /// Everything above the last mark.
    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    /// The number of a kept object: of the three forms of an instruction the first has it as text, then come 1 and 4 bytes.
    fn index(&mut self, op: u8, [text, short, _]: [u8; 3]) -> Step<u64> {
        match op == text {
            true => ascii(self.line()?).and_then(|text| text.parse().ok()).ok_or_else(|| "a number is none".into()),
            false => self.number(if op == short { 1 } else { 4 }),
        }
    }

    /// An integer in little-endian bytes of two's complement, after their count.
    fn long(&mut self, size: usize) -> Step<Node<'a>> {
        let bytes = self.counted(size)?;
        if bytes.len() > 8 {
            return Ok(Node::Long(bytes));
        }
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xFF } else { 0 };
        let mut wide = [sign; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(Node::Int(i64::from_le_bytes(wide)))
    }

    /// Bytes after their count of `size` bytes.
    fn counted(&mut self, size: usize) -> Step<&'a [u8]> {
        let count = self.number(size)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// A little-endian number of `size` bytes.
    fn number(&mut self, size: usize) -> Step<u64> {
        Ok(self.take(size)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("a line does not end")?;
        self.at += end + 1;
        let line = &rest[..end];
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("{count} bytes are needed, but the file ends"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

fn pairs(flat: Vec<Id>) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = flat.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("a key has no value".into()),
    }
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
