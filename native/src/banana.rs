//! Banana: one complete value of bytes, integers, floats and lists. Mirrors `dialects/classic/banana.py`, class Decoder.
//!
//! The bytes are read twice. `measure` checks all limits and makes no object; so a message that is incomplete, flawed
//! or too large costs nothing but the look at its bytes, and Python reads it again and decides about it. `Builder`
//! makes the objects of what was measured.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyList, PyTuple};

const LIST: u8 = 0x80;
const INT: u8 = 0x81;
const STRING: u8 = 0x82;
const NEG: u8 = 0x83;
const FLOAT: u8 = 0x84;
const LONGINT: u8 = 0x85;
const LONGNEG: u8 = 0x86;
const VOCAB: u8 = 0x87;

/// Digits that fit into 64 bits; numbers with more are Python's.
const MAX_DIGITS: usize = 9;

/// Levels that are read here: `build` calls itself for each, and a thread's stack may be small.
const MAX_DEPTH: usize = 256;

/// The bounds of one message: the fields of `Limits` of the same names.
#[pyclass(frozen)]
pub struct Bounds {
    depth: usize,
    list_items: u64,
    string_bytes: u64,
    message_bytes: usize,
    int_bits: u32,
    nodes: u64,
    container_nodes: u64,
    words: Py<PyTuple>,
    unicode: Py<PyBytes>, // the word before each text
}

#[pymethods]
impl Bounds {
    #[new]
    #[allow(clippy::too_many_arguments)] // the caller names them
    fn new(
        py: Python<'_>,
        depth: usize,
        list_items: u64,
        string_bytes: u64,
        message_bytes: usize,
        int_bits: u32,
        nodes: u64,
        container_nodes: u64,
        words: Py<PyTuple>,
    ) -> Self {
        Self {
            depth: depth.min(MAX_DEPTH),
            list_items,
            string_bytes,
            message_bytes,
            int_bits,
            nodes,
            container_nodes,
            words,
            unicode: PyBytes::new(py, b"unicode").unbind(),
        }
    }
}

/// What `measure` has found: the end of the value, and its nodes.
struct Measure {
    end: usize,
    nodes: u64,
}

/// Return the number before a type byte, the type byte, and the position after it.
#[inline]
fn prefix(data: &[u8], at: usize) -> Option<(u64, u8, usize)> {
    let mut number = 0u64;
    for (digits, &byte) in data.get(at..)?.iter().take(MAX_DIGITS + 1).enumerate() {
        if byte >= 0x80 {
            return Some((number, byte, at + digits + 1));
        }
        if digits == MAX_DIGITS {
            return None;
        }
        number |= u64::from(byte) << (7 * digits);
    }
    None
}

/// Check one value that begins at `start`; None where Python has to look at it.
fn measure(data: &[u8], start: usize, bounds: &Bounds, words: usize, most: u64) -> Option<Measure> {
    let mut at = start;
    let mut nodes = 0u64;
    let mut missing = 1u64; // items of the innermost open list,
    let mut around: Vec<u64> = Vec::new(); // and of the open lists around it
    loop {
        let (number, kind, after) = prefix(data, at)?;
        at = match kind {
            STRING if number <= bounds.string_bytes => {
                after.checked_add(usize::try_from(number).ok()?)?
            }
            VOCAB if 1 <= number && number <= words as u64 => after,
            INT | LONGINT | NEG | LONGNEG
                if u64::BITS - number.leading_zeros() <= bounds.int_bits =>
            {
                after
            }
            FLOAT if after == at + 1 => after + 8,
            LIST => {
                nodes = nodes
                    .checked_add(number)?
                    .checked_add(bounds.container_nodes - 1)?;
                if around.len() >= bounds.depth || number > bounds.list_items || nodes > most {
                    return None;
                }
                if number > 0 {
                    around.push(missing);
                    missing = number;
                    at = after;
                    continue;
                }
                after
            }
            _ => return None,
        };
        if at > data.len() {
            return None;
        }
        missing -= 1;
        while missing == 0 {
            let Some(outer) = around.pop() else {
                return (at - start <= bounds.message_bytes).then_some(Measure { end: at, nodes });
            };
            missing = outer - 1;
        }
    }
}

/// Makes the objects of a value that was measured.
struct Builder<'a, 'py> {
    py: Python<'py>,
    data: &'a [u8],
    at: usize,
    words: &'a Bound<'py, PyTuple>,
    unicode: Bound<'py, PyAny>,
    items: Vec<Bound<'py, PyAny>>, // of the lists that are being made, the innermost last
}

impl<'py> Builder<'_, 'py> {
    fn build(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let (number, kind, after) = prefix(self.data, self.at).expect("it was measured");
        self.at = after;
        Ok(match kind {
            STRING => {
                self.at += number as usize;
                match &self.data[after..self.at] {
                    b"unicode" => self.unicode.clone(), // a third of all strings
                    bytes => PyBytes::new(self.py, bytes).into_any(),
                }
            }
            LIST => {
                let first = self.items.len();
                for _ in 0..number {
                    let item = self.build()?;
                    self.items.push(item);
                }
                PyList::new(self.py, self.items.drain(first..))?.into_any()
            }
            VOCAB => self.words.get_item(number as usize - 1)?,
            INT | LONGINT => PyInt::new(self.py, number).into_any(),
            NEG | LONGNEG => PyInt::new(self.py, -i128::from(number)).into_any(),
            _ => {
                self.at += 8;
                let bits: [u8; 8] = self.data[after..self.at].try_into().expect("eight bytes");
                PyFloat::new(self.py, f64::from_be_bytes(bits)).into_any()
            }
        })
    }
}

/// Read one complete value of `data` that begins at `pos`, with at most `nodes` nodes.
///
/// Returns the value, the position after it, and its nodes; None where Python has to read it.
#[pyfunction]
pub fn read_banana<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyBytes>,
    pos: usize,
    bounds: &Bound<'py, Bounds>,
    nodes: u64,
) -> PyResult<Option<(Bound<'py, PyAny>, usize, u64)>> {
    let bounds = bounds.get();
    let words = bounds.words.bind(py);
    let data = data.as_bytes();
    let Some(found) = measure(data, pos, bounds, words.len(), nodes.min(bounds.nodes)) else {
        return Ok(None);
    };
    let unicode = bounds.unicode.bind(py).clone().into_any();
    let mut builder = Builder {
        py,
        data,
        at: pos,
        words,
        unicode,
        items: Vec::new(),
    };
    // A panic is a defect here; nothing was given away yet, so Python can read the message all the same.
    match catch_unwind(AssertUnwindSafe(|| builder.build())) {
        Ok(value) => Ok(Some((value?, found.end, found.nodes))),
        Err(_) => Ok(None),
    }
}
