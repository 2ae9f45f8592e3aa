//! The machine that runs pickles, and calls nothing.
//!
//! It knows the instructions of protocols 0 to 5, except for buffers outside the file. It ends on
//! any input: an instruction takes at least a byte, and its work is bounded by the bytes and
//! objects that it takes.

use super::pickle_value::{Object, ObjectId, PickledCall};
use std::collections::HashMap;

/// The most objects that a pickle may build, memoize or have on its stack: dozens of times the
/// number in a large training checkpoint.
const MOST_OBJECTS: usize = 1 << 21;

/// The longest pickle, bytes; storages are not part of it.
const LONGEST: usize = 1 << 28;

/// Runs the pickle that begins at byte `at`, and moves `at` past it. Returns its objects, and the
/// one it stands for or the reason why there is none.
pub(super) fn unpickle<'a>(bytes: &'a [u8], at: &mut usize) -> (Vec<Object<'a>>, Step<ObjectId>) {
    let mut machine = Machine {
        bytes,
        at: *at,
        objects: vec![],
        stack: vec![],
        marks: vec![],
        memo: HashMap::new(),
    };
    let root = machine
        .run()
        .map_err(|reason| format!("{reason} (byte {} of the pickle)", machine.at - *at));
    *at = machine.at;
    (machine.objects, root)
}

/// The stack machine.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<ObjectId>,
    /// The height of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u64, ObjectId>,
}

type Step<T = ()> = Result<T, String>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<ObjectId> {
        let start = self.at;
        loop {
            let op = self.number(1)? as u8;
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
            let held = [self.objects.len(), self.stack.len(), self.marks.len(), self.memo.len()];
            if held.into_iter().any(|count| count > MOST_OBJECTS) || self.at - start > LONGEST {
                return Err("it is far larger than weights need".into());
            }
        }
    }

    /// Runs one instruction. The names are those of Python's `pickletools`.
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
                let id = *self
                    .memo
                    .get(&key)
                    .ok_or_else(|| format!("object {key} is fetched but was never memoized"))?;
                self.stack.push(id);
                Ok(())
            }

            // TUPLE, TUPLE1 to TUPLE3, LIST, FROZENSET, DICT
            b't' | 0x85..=0x87 | b'l' | 0x91 => {
                let elements = match op {
                    0x85..=0x87 => self.pop_many(usize::from(op - 0x84))?,
                    _ => self.pop_mark()?,
                };
                self.push(if matches!(op, b'l' | 0x91) {
                    Object::List(elements)
                } else {
                    Object::Tuple(elements)
                })
            }
            b'd' => {
                let items = pairs(self.pop_mark()?)?;
                self.push(Object::Dict(items))
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
                let id = self.add(Object::Text(String::from_utf8_lossy(line)));
                self.push(Object::Persistent(id))
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Object::Persistent(id))
            }
            _ => {
                let value = self.value(op)?;
                self.push(value)
            }
        }
    }

    /// A plain value: numbers, texts, bytes, and empty values.
    fn value(&mut self, op: u8) -> Step<Object<'a>> {
        Ok(match op {
            b'N' => Object::None,
            // NEWTRUE, NEWFALSE
            0x88 | 0x89 => Object::Bool(op == 0x88),
            b')' => Object::Tuple(vec![]),
            // EMPTY_LIST, EMPTY_SET
            b']' | 0x8F => Object::List(vec![]),
            b'}' => Object::Dict(vec![]),

            // INT, LONG, FLOAT: a line of text. BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT:
            // bytes.
            b'I' | b'L' => {
                let line = self.line()?;
                match line.strip_suffix(b"L").unwrap_or(line) {
                    b"00" => Object::Bool(false),
                    b"01" => Object::Bool(true),
                    digits => match ascii(digits).and_then(|text| text.parse().ok()) {
                        Some(value) => Object::Int(value),
                        None => Object::Long(digits),
                    },
                }
            }
            b'F' => Object::Float(
                ascii(self.line()?)
                    .and_then(|text| text.parse().ok())
                    .ok_or("a float cannot be parsed")?,
            ),
            b'J' => Object::Int(i64::from(self.number(4)? as u32 as i32)),
            b'K' | b'M' => Object::Int(self.number(if op == b'K' { 1 } else { 2 })? as i64),
            0x8A => self.long(1)?,
            0x8B => self.long(4)?,
            b'G' => Object::Float(f64::from_bits(self.number(8)?.swap_bytes())),

            // STRING, UNICODE: a line of text. Its escapes stay as written, since names of
            // parameters need none.
            b'S' => {
                let line = self.line()?;
                let quoted = line.len() >= 2 && line[0] == line[line.len() - 1];
                Object::Text(String::from_utf8_lossy(if quoted {
                    &line[1..line.len() - 1]
                } else {
                    line
                }))
            }
            b'V' => Object::Text(String::from_utf8_lossy(self.line()?)),
            // SHORT_BINSTRING, BINSTRING, SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            b'U' | b'T' | 0x8C | b'X' | 0x8D => {
                let size = match op {
                    b'U' | 0x8C => 1,
                    b'T' | b'X' => 4,
                    _ => 8,
                };
                Object::Text(String::from_utf8_lossy(self.counted(size)?))
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => Object::Bytes(self.counted(1)?),
            b'B' => Object::Bytes(self.counted(4)?),
            0x8E | 0x96 => Object::Bytes(self.counted(8)?),
            _ => return Err(format!("weights need no instruction 0x{op:02X}")),
        })
    }

    /// GLOBAL, STACK_GLOBAL, EXT1, EXT2, EXT4, and INST, which also calls: records a name.
    fn import(&mut self, op: u8) -> Step {
        let [module, name] = match op {
            0x93 => {
                let name = self.pop()?;
                [self.pop()?, name]
            }
            0x82..=0x84 => {
                let code = self.number([1, 2, 4][usize::from(op - 0x82)])?;
                let module = self.add(Object::Text("copyreg extension".into()));
                [module, self.add(Object::Text(code.to_string().into()))]
            }
            _ => {
                let (module, name) = (self.line()?, self.line()?);
                let module = self.add(Object::Text(String::from_utf8_lossy(module)));
                [module, self.add(Object::Text(String::from_utf8_lossy(name)))]
            }
        };
        if op != b'i' {
            return self.push(Object::Global { module, name });
        }
        let callable = self.add(Object::Global { module, name });
        let args = self.pop_mark()?;
        let args = self.add(Object::Tuple(args));
        self.push_call(callable, args)
    }

    /// REDUCE, OBJ, NEWOBJ, NEWOBJ_EX, BUILD: records a call, or an operation on its result.
    fn invoke(&mut self, op: u8) -> Step {
        if op == b'b' {
            let state = self.pop()?;
            let top = self.top()?;
            return match &mut self.objects[top.0 as usize] {
                Object::Call(call) => {
                    call.state = Some(state);
                    Ok(())
                }
                _ => Err("attributes are set on an object that has none".into()),
            };
        }
        let (callable, args) = match op {
            b'o' => {
                let all = self.pop_mark()?;
                let (&callable, args) = all.split_first().ok_or("a call has no function")?;
                (callable, self.add(Object::Tuple(args.to_vec())))
            }
            0x92 => {
                let all = self.pop_many(3)?;
                (all[0], self.add(Object::Tuple(all[1..].to_vec())))
            }
            _ => {
                let args = self.pop()?;
                (self.pop()?, args)
            }
        };
        match self.objects[callable.0 as usize] {
            Object::Global { .. } | Object::Call(_) => self.push_call(callable, args),
            _ => Err("an object that is not a function is called".into()),
        }
    }

    fn push_call(&mut self, callable: ObjectId, args: ObjectId) -> Step {
        self.push(Object::Call(Box::new(PickledCall {
            callable,
            args,
            items: vec![],
            state: None,
        })))
    }

    fn append(&mut self, values: Vec<ObjectId>) -> Step {
        let top = self.top()?;
        match &mut self.objects[top.0 as usize] {
            Object::List(elements) => elements.extend(values),
            // A list of another kind, whose elements nothing here uses.
            Object::Call(_) => {}
            _ => return Err("elements are added to an object that is not a list".into()),
        }
        Ok(())
    }

    fn set(&mut self, new: Vec<(ObjectId, ObjectId)>) -> Step {
        let top = self.top()?;
        match &mut self.objects[top.0 as usize] {
            Object::Dict(items) => items.extend(new),
            Object::Call(call) => call.items.extend(new),
            _ => return Err("entries are set on an object that is not a dictionary".into()),
        }
        Ok(())
    }

    fn push(&mut self, object: Object<'a>) -> Step {
        let id = self.add(object);
        self.stack.push(id);
        Ok(())
    }

    fn add(&mut self, object: Object<'a>) -> ObjectId {
        self.objects.push(object);
        ObjectId((self.objects.len() - 1) as u32)
    }

    /// The top of the stack, which must lie above the last mark.
    fn top(&self) -> Step<ObjectId> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..]
            .last()
            .copied()
            .ok_or_else(|| "an object is taken from an empty stack".into())
    }

    fn pop(&mut self) -> Step<ObjectId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<ObjectId>> {
        let mut all = (0..count).map(|_| self.pop()).collect::<Step<Vec<ObjectId>>>()?;
        all.reverse();
        Ok(all)
    }

    /// Everything above the last mark.
    fn pop_mark(&mut self) -> Step<Vec<ObjectId>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    /// The number of a memoized object: the first of an instruction's three forms has it as text,
    /// the others in 1 and 4 bytes.
    fn index(&mut self, op: u8, [text, short, _]: [u8; 3]) -> Step<u64> {
        match op == text {
            true => ascii(self.line()?)
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| "a number cannot be parsed".into()),
            false => self.number(if op == short { 1 } else { 4 }),
        }
    }

    /// An integer in little-endian bytes of two's complement, after their count.
    fn long(&mut self, size: usize) -> Step<Object<'a>> {
        let bytes = self.counted(size)?;
        if bytes.len() > 8 {
            return Ok(Object::Long(bytes));
        }
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xFF } else { 0 };
        let mut wide = [sign; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(Object::Int(i64::from_le_bytes(wide)))
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

fn pairs(flat: Vec<ObjectId>) -> Step<Vec<(ObjectId, ObjectId)>> {
    let (pairs, rest) = flat.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("a key has no value".into()),
    }
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
