//! What runs inside the vassal's interpreter: zygote, workers, the WSGI bridge. The only folder that knows pyo3.
