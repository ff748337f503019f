//! A table in Markdown, with columns that line up in a terminal, too.

use std::fmt;

/// Rows below a head.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    /// Columns that say what a row is about; the others hold figures.
    names: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new(title: impl Into<String>, names: usize, head: &[&str]) -> Self {
        Self { title: title.into(), names, rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row, unless it has no figure.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        if cells.iter().skip(self.names).any(|cell| !cell.is_empty()) {
            self.rows.push(cells);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(head) = self.rows.first().filter(|_| self.rows.len() > 1) else { return Ok(()) };
        let width = |column| self.rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        writeln!(f, "### {}", self.title)?;
        for (at, row) in self.rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if at == 0 {
                writeln!(f, "|{}", "---|".repeat(widths.len()))?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_rows_without_figures_are_left_out() {
        let mut table = Table::new("Told", 1, &["server", "us"]);
        table.row(vec!["floor".into(), "8.1".into()]);
        table.row(vec!["nchan".into(), String::new()]);
        assert_eq!(table.to_string(), "### Told\n| server | us  |\n|---|---|\n| floor  | 8.1 |\n\n");
        assert_eq!(Table::new("Empty", 1, &["server"]).to_string(), "");
    }
}
