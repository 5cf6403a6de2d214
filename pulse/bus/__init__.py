"""The bus that carries encoded views from the engine to the fan-out, within or between processes."""
