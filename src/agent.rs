//! What the agent does on its machine.
