//! The native path of perspective-broker: the plain cases of what `src/perspective_broker` says is right.
//!
//! Whatever is not plain here is handed over to Python ("bail") before anything was done: a function then returns None.
#![forbid(unsafe_code)]

mod banana;
mod unjelly;

use pyo3::prelude::*;

/// Functions of the native path.
#[pymodule(gil_used = true)]
fn perspective_broker_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<banana::Bounds>()?;
    module.add_function(wrap_pyfunction!(banana::read_banana, module)?)?;
    module.add_function(wrap_pyfunction!(unjelly::unjelly_plain, module)?)
}
