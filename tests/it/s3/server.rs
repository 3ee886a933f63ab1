//! An S3 server of its own port, in this process: `s3s` over HTTP, with a bucket in memory or, by `s3s-fs`, in a
//! folder. In front of it every request is noted, and answered as the faults say.
//!
//! Requests are signed, and the signatures checked: [`S3Server::variables`] are what a process needs to speak to it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::bucket::{BUCKET, MemoryBucket};

const ACCESS_KEY: &str = "test-access-key";
const SECRET_KEY: &str = "test-secret-key";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    List,
    Get,
    Head,
    Other,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub kind: Kind,
    /// As it stands in the path, behind the bucket.
    pub key: String,
    pub query: String,
    pub range: Option<String>,
    pub if_match: Option<String>,
}

/// What happens to a request instead of, or before, its answer.
#[derive(Debug, Clone)]
pub enum Effect {
    /// An error of S3.
    Status(u16, &'static str),
    /// The connection ends without an answer.
    Reset,
    /// The connection ends so many bytes into the body.
    Cut(usize),
    /// So many bytes of the body come, and then nothing, for good.
    Stall(usize),
    /// The body comes a byte at a time, with so long in between.
    Trickle(Duration),
    /// No answer comes, for good, and the connection stays.
    Silence,
    /// 200 with this body, and no more headers than it needs.
    Answer(&'static str),
    /// The object is replaced by these bytes; then the answer is as it should be.
    Replace(Bytes),
}

#[derive(Debug)]
struct Fault {
    kind: Kind,
    /// Requests of this kind that pass before it.
    spared: usize,
    times: usize,
    effect: Effect,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    faults: Mutex<Vec<Fault>>,
}

pub struct S3Server {
    address: SocketAddr,
    state: Arc<State>,
    /// Empty where the objects are in a folder.
    pub bucket: MemoryBucket,
    front: Front,
    /// `None` while it is down.
    runtime: Option<Runtime>,
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl S3Server {
    /// A server with one empty bucket in memory.
    pub fn start() -> Self {
        let bucket = MemoryBucket::default();
        Self::serve(S3ServiceBuilder::new(bucket.clone()), bucket, Ipv4Addr::LOCALHOST.into())
    }

    /// The same at another address of this machine.
    pub fn start_at(address: IpAddr) -> Self {
        let bucket = MemoryBucket::default();
        Self::serve(S3ServiceBuilder::new(bucket.clone()), bucket, address)
    }

    /// The same, for requests that are signed by whatever clock.
    pub fn start_without_clock() -> Self {
        let bucket = MemoryBucket::default();
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        let mut service = S3ServiceBuilder::new(bucket.clone());
        service.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Self::serve(service, bucket, Ipv4Addr::LOCALHOST.into())
    }

    /// A server of `s3s-fs` whose bucket is a folder below `root`: what is put into it by `std::fs` is there.
    pub fn start_in(root: &Path) -> Self {
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        let files = s3s_fs::FileSystem::new(root).unwrap();
        Self::serve(S3ServiceBuilder::new(files), MemoryBucket::default(), Ipv4Addr::LOCALHOST.into())
    }

    fn serve(mut service: S3ServiceBuilder, bucket: MemoryBucket, at: IpAddr) -> Self {
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let state = Arc::new(State::default());
        let front = Front { service, state: state.clone(), bucket: bucket.clone() };
        let (runtime, address) = listen((at, 0).into(), front.clone());
        Self { address, state, bucket, front, runtime: Some(runtime) }
    }

    /// Breaks every connection off and takes no more, until [`S3Server::come_back`].
    pub fn go_down(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// At the same address, with the same objects.
    pub fn come_back(&mut self) {
        let (runtime, _) = listen(self.address, self.front.clone());
        self.runtime = Some(runtime);
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The `source:` of a config, as a YAML mapping.
    pub fn source(&self, prefix: &str) -> String {
        self.source_through(self.address, prefix)
    }

    /// The same for clients that reach it at another address.
    pub fn source_through(&self, address: SocketAddr, prefix: &str) -> String {
        format!(
            "{{url: \"s3://{BUCKET}/{prefix}\", endpoint: \"http://{address}\", region: eu-west-1, allow_http: true}}"
        )
    }

    /// What the environment of a process needs.
    pub fn variables(&self) -> Vec<(String, String)> {
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// Requests of this kind from now on, `spared` of which pass before, suffer this `times` times.
    pub fn inject(&self, kind: Kind, spared: usize, times: usize, effect: Effect) {
        self.state.faults.lock().unwrap().push(Fault { kind, spared, times, effect });
    }

    /// The rest of the injected faults does not happen.
    pub fn heal(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// How many of the injected faults have not happened.
    pub fn faults_left(&self) -> usize {
        self.state.faults.lock().unwrap().iter().map(|fault| fault.times).sum()
    }

    pub fn seen(&self, kind: Kind) -> Vec<Seen> {
        self.state.seen.lock().unwrap().iter().filter(|seen| seen.kind == kind).cloned().collect()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.seen(kind).len()
    }

    pub fn forget_seen(&self) {
        self.state.seen.lock().unwrap().clear();
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn listen(address: SocketAddr, front: Front) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(accept(listener, front));
    (runtime, address)
}

async fn accept(listener: TcpListener, front: Front) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(serve_connection(connection, front.clone()));
    }
}

async fn serve_connection(connection: TcpStream, front: Front) {
    let service = hyper::service::service_fn(move |request| {
        let front = front.clone();
        async move { front.answer(request).await }
    });
    // It ends in an error where a fault cut it.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

#[derive(Clone)]
struct Front {
    service: S3Service,
    state: Arc<State>,
    bucket: MemoryBucket,
}

impl Front {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let seen = seen(&request);
        let effect = self.effect(seen.kind);
        let key = percent_encoding::percent_decode_str(&seen.key).decode_utf8().unwrap().into_owned();
        self.state.seen.lock().unwrap().push(seen);
        match effect {
            None => self.forward(request).await,
            Some(Effect::Status(status, code)) => Ok(error(status, code)),
            Some(Effect::Reset) => Err(std::io::ErrorKind::ConnectionReset.into()),
            Some(Effect::Cut(at)) => {
                // Between the two, what there is goes out.
                let cut = stream::once(async {
                    tokio::task::yield_now().await;
                    Err(std::io::ErrorKind::ConnectionReset.into())
                });
                Ok(broken(self.forward(request).await?, at, cut).await)
            }
            Some(Effect::Stall(at)) => Ok(broken(self.forward(request).await?, at, stream::pending()).await),
            Some(Effect::Trickle(pause)) => Ok(trickling(self.forward(request).await?, pause).await),
            Some(Effect::Silence) => std::future::pending().await,
            Some(Effect::Answer(body)) => Ok(Response::new(whole(body.to_owned()))),
            Some(Effect::Replace(bytes)) => {
                self.bucket.put(&key, bytes, 1_000_000);
                self.forward(request).await
            }
        }
    }

    /// The first fault whose turn it is.
    fn effect(&self, kind: Kind) -> Option<Effect> {
        for fault in self.state.faults.lock().unwrap().iter_mut().filter(|fault| fault.kind == kind) {
            if fault.spared > 0 {
                fault.spared -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Some(fault.effect.clone());
            }
        }
        None
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let answer = Service::call(&self.service, request).await.map_err(std::io::Error::other)?;
        Ok(answer.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
    }
}

fn seen(request: &Request<Incoming>) -> Seen {
    let path = request.uri().path().trim_start_matches('/');
    let key = path.split_once('/').map_or("", |(_, key)| key).to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let header = |name| request.headers().get(name).map(|value: &http::HeaderValue| value.to_str().unwrap().to_owned());
    let kind = match *request.method() {
        Method::GET if key.is_empty() => Kind::List,
        Method::GET => Kind::Get,
        Method::HEAD => Kind::Head,
        _ => Kind::Other,
    };
    Seen { kind, key, query, range: header(http::header::RANGE), if_match: header(http::header::IF_MATCH) }
}

fn error(status: u16, code: &str) -> Response<Body> {
    let xml = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message><Region>eu-central-1</Region></Error>"
    );
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(whole(xml)).unwrap()
}

fn whole(body: String) -> Body {
    Full::from(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The answer, with the first bytes of its body and then `end`. A body that is shorter ends in its middle.
async fn broken(
    answer: Response<Body>,
    at: usize,
    end: impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let at = if at < bytes.len() { at } else { bytes.len() / 2 };
    let head = stream::iter((at > 0).then(|| Ok(bytes.slice(..at))));
    let frames = head.chain(end).map(|chunk| chunk.map(Frame::data));
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

/// The answer, its body byte by byte.
async fn trickling(answer: Response<Body>, pause: Duration) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let frames = stream::unfold(bytes, move |mut bytes| async move {
        tokio::time::sleep(pause).await;
        (!bytes.is_empty()).then(|| (Ok(Frame::data(bytes.split_to(1))), bytes))
    });
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}
