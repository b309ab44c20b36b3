//! What waits to go out: pages of bytes, and between them what is no bytes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::ask::Ask;
use crate::proto::Output;

const PAGE: usize = 64 * 1024;

#[derive(Default)]
pub(in crate::proto::imap) struct Out {
    queue: VecDeque<Output<Ask>>,
    page: Vec<u8>,
    /// Bytes in the queue.
    queued: usize,
}

impl Out {
    /// Where the next bytes are written.
    pub fn page(&mut self) -> &mut Vec<u8> {
        if self.page.len() >= PAGE {
            self.turn();
        }
        &mut self.page
    }

    pub fn push(&mut self, output: Output<Ask>) {
        self.turn();
        self.queue.push_back(output);
    }

    pub fn pop(&mut self) -> Option<Output<Ask>> {
        if self.queue.is_empty() {
            self.turn();
        }
        let next = self.queue.pop_front();
        if let Some(Output::Write(bytes)) = &next {
            self.queued = self.queued.saturating_sub(bytes.len());
        }
        next
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.queued + self.page.len()
    }

    fn turn(&mut self) {
        if self.page.is_empty() {
            return;
        }
        let mut bytes = Bytes::from(std::mem::take(&mut self.page));
        self.queued += bytes.len();
        while bytes.len() > PAGE {
            self.queue.push_back(Output::Write(bytes.split_to(PAGE)));
        }
        self.queue.push_back(Output::Write(bytes));
    }
}
