//! The answers of a connection, in the order of its documents.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use heliograph_dialects::Dialect;
use tokio::io::AsyncWriteExt;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::intake::Answering;
use crate::wire::Wire;

/// How long a peer may take to accept an answer.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

type Pending = Pin<Box<dyn Future<Output = Answered> + Send>>;

struct Answered {
    answer: Answer,
    /// What its document speaks, as far as that can be told.
    dialect: Option<Dialect>,
    since: Instant,
    /// What its document took of [`Answers::bytes`].
    bytes: usize,
}

/// Answers that are to be written.
#[derive(Default)]
pub(crate) struct Answers {
    pending: FuturesOrdered<Pending>,
    /// Those that are there, before those that are pending.
    ready: VecDeque<Answered>,
    /// Of documents that are being dealt with.
    bytes: usize,
}

impl Answers {
    /// Documents whose answers are not written yet.
    pub(crate) fn len(&self) -> usize {
        self.pending.len() + self.ready.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of documents that are not dealt with yet.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the answer to a document of so many bytes that came at an instant; `held` is
    /// what the document holds until then.
    pub(crate) fn push(
        &mut self,
        answer: Answering<impl Future<Output = Answer> + Send + 'static>,
        dialect: Option<Dialect>,
        since: Instant,
        bytes: usize,
        held: impl Send + 'static,
    ) {
        // Of a document that is answered nothing is held.
        let bytes = if matches!(answer, Answering::Now(_)) { 0 } else { bytes };
        self.bytes += bytes;
        let answered = move |answer| {
            drop(held);
            Answered { answer, dialect, since, bytes }
        };
        match answer {
            Answering::Now(answer) if self.pending.is_empty() => self.ready.push_back(answered(answer)),
            Answering::Now(answer) => self.pending.push_back(Box::pin(std::future::ready(answered(answer)))),
            // Where the budget of the task ran out, one that yields would come to the store
            // behind those that came after it.
            Answering::Later(answer) => self.pending.push_back(Box::pin(unconstrained(answer).map(answered))),
        }
    }

    /// A document is dealt with.
    fn add_ready(&mut self, answered: Answered) {
        self.bytes -= answered.bytes;
        self.ready.push_back(answered);
    }

    /// Adds an answer to what was no document, once nothing else is pending.
    pub(crate) fn push_last(&mut self, answer: Answer, dialect: Option<Dialect>) {
        self.ready.push_back(Answered { answer, dialect, since: Instant::now(), bytes: 0 });
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Waits until there is an answer, and gathers all that are there. Without a document
    /// under way there never is one.
    pub(crate) async fn gather(&mut self) {
        let gather = |cx: &mut Context<'_>| {
            while let Poll::Ready(Some(answered)) = self.pending.poll_next_unpin(cx) {
                self.add_ready(answered);
            }
            if self.ready.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        };
        std::future::poll_fn(gather).await;
    }

    /// Writes the answers that are there, at once; true where the connection closes
    /// after the last of them. `on_waiting` is called where the peer does not take all of
    /// it, before that is waited for.
    pub(crate) async fn write(&mut self, wire: &mut Wire, on_waiting: impl FnOnce()) -> std::io::Result<bool> {
        let (mut lines, mut closes) = (String::new(), false);
        // What is dealt with counts, whether or not its peer is still there to hear of it.
        while let Some(Answered { answer, dialect, since, .. }) = self.ready.pop_front_if(|_| !closes) {
            answer.append_to(&mut lines);
            answer.count(dialect, since.elapsed());
            closes = answer.closes();
        }
        let written = wire.try_write(lines.as_bytes())?;
        if let Some(rest) = lines.as_bytes().get(written..).filter(|rest| !rest.is_empty()) {
            on_waiting();
            Box::pin(self.write_patiently(wire, rest)).await?;
        }
        if self.is_empty() {
            // An idle connection holds no memory for answers.
            self.ready = VecDeque::new();
        }
        Ok(closes)
    }

    /// Writes to a peer that does not take all of it at once.
    async fn write_patiently(&mut self, wire: &mut Wire, rest: &[u8]) -> std::io::Result<()> {
        let writing = tokio::time::timeout(WRITE_TIMEOUT, async {
            wire.write_all(rest).await?;
            wire.flush().await
        });
        self.going_on(writing).await?
    }

    /// Waits for something, such as a write, while documents go on: others' may wait for
    /// those of a peer that reads no answers.
    pub(crate) async fn going_on<T>(&mut self, awaited: impl Future<Output = T>) -> T {
        tokio::pin!(awaited);
        loop {
            tokio::select! {
                biased;
                done = &mut awaited => return done,
                Some(next) = self.pending.next(), if !self.pending.is_empty() => self.add_ready(next),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::RefusalCode;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn documents_go_on_while_the_answer_to_an_earlier_one_is_being_written() {
        let (dealt_with, written) = oneshot::channel();
        let mut answers = Answers::default();
        let later = Answering::Later(async move {
            dealt_with.send(()).unwrap();
            Answer::nack(None, RefusalCode::Unavailable, "later")
        });
        answers.push(later, None, Instant::now(), 0, ());
        // A peer that reads its first answer once its second document is dealt with.
        let going_on = answers.going_on(written);
        tokio::time::timeout(Duration::from_secs(10), going_on).await.unwrap().unwrap();
        answers.gather().await;
        let next = answers.ready.pop_front();
        assert!(next.is_some_and(|next| next.answer.line().contains("later")));
    }

    #[tokio::test]
    async fn what_is_dealt_with_counts_though_its_peer_is_gone() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let _counting = metrics::set_default_local_recorder(&recorder);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut wire = Wire::Plain(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        wire.shutdown().await.unwrap();
        let mut answers = Answers::default();
        answers.push_last(Answer::Ack { seq: None, readings: 20, rejected: 0 }, None);
        assert!(answers.write(&mut wire, || {}).await.is_err(), "nothing can be written any more");
        let figures = recorder.handle().render();
        assert!(figures.contains("\nheliograph_ingest_readings_total 20\n"), "{figures}");
    }

    /// Of two documents with the same reading the later one has to come to the store last.
    #[tokio::test]
    async fn documents_come_to_the_store_in_their_order_however_many_come_at_once() {
        let (store, mut came) = tokio::sync::mpsc::channel(1000);
        let mut answers = Answers::default();
        for number in 0..1000 {
            let store = store.clone();
            let later = Answering::Later(async move {
                store.send(number).await.unwrap();
                Answer::Ack { seq: None, readings: number, rejected: 0 }
            });
            answers.push(later, None, Instant::now(), 0, ());
        }
        while answers.ready.len() < 1000 {
            answers.pending.next().await.into_iter().for_each(|next| answers.add_ready(next));
        }
        let mut order = Vec::new();
        came.recv_many(&mut order, 1000).await;
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn answers_keep_the_order_of_their_documents() {
        type Later = std::future::Ready<Answer>;
        let ack = |readings| Answer::Ack { seq: None, readings, rejected: 0 };
        let (first, told) = oneshot::channel();
        let mut answers = Answers::default();
        answers.push(Answering::<Later>::Now(ack(0)), None, Instant::now(), 0, ());
        answers.push(Answering::Later(async { told.await.unwrap() }), None, Instant::now(), 0, ());
        answers.push(Answering::<Later>::Now(ack(2)), None, Instant::now(), 0, ());
        answers.push(Answering::Later(std::future::ready(ack(3))), None, Instant::now(), 0, ());
        answers.gather().await;
        assert_eq!((answers.ready.len(), answers.len()), (1, 4), "what is behind the second one waits for it");
        first.send(ack(1)).unwrap();
        answers.gather().await;
        let order: Vec<Answer> = answers.ready.iter().map(|answered| answered.answer.clone()).collect();
        assert_eq!(order, (0..4).map(ack).collect::<Vec<_>>());
    }
}
