//! Unjelly: values of text, numbers, bytes, None, booleans, lists, tuples and dictionaries with text as keys, out of
//! banana's lists. Mirrors `dialects/classic/unjelly.py`, class Unjellier. Nothing here is shared, refers to an object or
//! runs code of the program, so a value that is given up half made has had no effect.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyString, PyTuple};

/// Levels that are read here: `value` calls itself for each, and a thread's stack may be small.
const MAX_DEPTH: usize = 256;

/// What makes one value.
struct Unjellier<'py> {
    py: Python<'py>,
    units: u64, // of work that it may still take, see work.py
    depth: usize,
}

impl<'py> Unjellier<'py> {
    /// Return the value of a part; None where Python has to look at the whole.
    fn part(&mut self, part: Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        match part.cast_exact::<PyList>() {
            Ok(jelly) => self.value(jelly),
            Err(_) => Some(part),
        }
    }

    fn value(&mut self, jelly: &Bound<'py, PyList>) -> Option<Bound<'py, PyAny>> {
        let word = jelly.get_item(0).ok()?;
        let size = jelly.len();
        match word.cast_exact::<PyBytes>().ok()?.as_bytes() {
            b"unicode" if size == 2 => {
                let text = jelly.get_item(1).ok()?;
                let text =
                    std::str::from_utf8(text.cast_exact::<PyBytes>().ok()?.as_bytes()).ok()?;
                Some(PyString::new(self.py, text).into_any())
            }
            b"None" if size == 1 => Some(self.py.None().into_bound(self.py)),
            b"boolean" if size == 2 => {
                let word = jelly.get_item(1).ok()?;
                let known = match word.cast_exact::<PyBytes>().ok()?.as_bytes() {
                    b"true" => true,
                    b"false" => false,
                    _ => return None,
                };
                Some(PyBool::new(self.py, known).to_owned().into_any())
            }
            b"list" => {
                let items = self.parts(jelly)?;
                Some(PyList::new(self.py, items).ok()?.into_any())
            }
            b"tuple" => {
                let items = self.parts(jelly)?;
                Some(PyTuple::new(self.py, items).ok()?.into_any())
            }
            b"dictionary" => self.dictionary(jelly),
            _ => None,
        }
    }

    /// Count a container, and the level that it is.
    fn enter(&mut self) -> Option<()> {
        self.units = self.units.checked_sub(1)?;
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }

    fn parts(&mut self, jelly: &Bound<'py, PyList>) -> Option<Vec<Bound<'py, PyAny>>> {
        self.enter()?;
        let mut items = Vec::with_capacity(jelly.len() - 1);
        for index in 1..jelly.len() {
            items.push(self.part(jelly.get_item(index).ok()?)?);
        }
        self.depth -= 1;
        Some(items)
    }

    fn dictionary(&mut self, jelly: &Bound<'py, PyList>) -> Option<Bound<'py, PyAny>> {
        self.enter()?;
        let into = PyDict::new(self.py);
        for index in 1..jelly.len() {
            let pair = jelly.get_item(index).ok()?;
            let pair = pair.cast_exact::<PyList>().ok()?;
            if pair.len() != 2 {
                return None;
            }
            let key = self.part(pair.get_item(0).ok()?)?;
            if !key.is_exact_instance_of::<PyString>() {
                return None; // the work of hashing other keys is counted in Python
            }
            // The last one of duplicate keys wins, as in every classic peer.
            into.set_item(key, self.part(pair.get_item(1).ok()?)?)
                .ok()?;
        }
        self.depth -= 1;
        Some(into.into_any())
    }
}

/// Return the value that `jelly` represents, in a tuple; None where Python has to decode it.
#[pyfunction]
pub fn unjelly_plain<'py>(
    py: Python<'py>,
    jelly: &Bound<'py, PyList>,
    units: u64,
) -> Option<(Bound<'py, PyAny>,)> {
    let mut unjellier = Unjellier {
        py,
        units,
        depth: 0,
    };
    // A panic is a defect here; nothing was given away yet, so Python can decode the value all the same.
    let value = catch_unwind(AssertUnwindSafe(|| unjellier.value(jelly)));
    value.ok().flatten().map(|value| (value,))
}
