"""Nondeterministic functions, by their dotted paths, and the rule that a call of each breaks.

A path is that of the import; `()` denotes the result of a call, so that `requests.Session().get` is
a method of a session. Only functions that are certainly nondeterministic are listed: a missing
entry costs a finding, a wrong one costs trust.
"""

import ast
from collections.abc import Callable
from typing import Final

from perdure.lint.rules import Rule

_VERBS: Final = ("get", "post", "put", "patch", "delete", "head", "options", "request")


def _names(module: str, names: str) -> list[str]:
    return [f"{module}.{name}" for name in names.split()]


def _verbs(module: str) -> list[str]:
    return [f"{module}.{name}" for name in (*_VERBS, "send", "stream")]


_CLOCKS: Final = [
    *_names("time", "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns"),
    *_names("time", "process_time process_time_ns thread_time thread_time_ns clock_gettime"),
    *_names("time", "localtime gmtime ctime asctime strftime"),
    *_names("datetime.datetime", "now utcnow today"),
    *("datetime.date.today", "django.utils.timezone.now", "django.utils.timezone.localtime"),
    *_names("pendulum", "now today tomorrow yesterday"),
    *_names("arrow", "now utcnow"),
    *_names("pandas.Timestamp", "now utcnow today"),
    *("whenever.Instant.now", "whenever.ZonedDateTime.now"),
    *("asyncio.get_running_loop().time", "asyncio.get_event_loop().time"),
]

_CHANCES: Final = [
    *_names("random", "random uniform triangular randint randrange getrandbits randbytes choice"),
    *_names("random", "choices shuffle sample gauss normalvariate lognormvariate expovariate"),
    *_names("random", "vonmisesvariate gammavariate betavariate paretovariate weibullvariate"),
    *("random.Random", "random.SystemRandom", "random.binomialvariate"),
    *_names("uuid", "uuid1 uuid4 uuid6 uuid7 getnode"),
    *_names("secrets", "token_bytes token_hex token_urlsafe choice randbelow randbits"),
    *("secrets.SystemRandom", "os.urandom", "os.getrandom"),
    *_names("numpy.random", "rand randn randint random random_sample choice shuffle permutation"),
    *_names("numpy.random", "normal uniform default_rng RandomState"),
    *("ulid.new", "ulid.ULID", "shortuuid.uuid", "nanoid.generate"),
    *("builtins.hash", "builtins.id"),
]

_ENVIRONMENT: Final = [
    *_names("os", "getenv getenvb getpid getppid getcwd getcwdb getlogin getuid uname cpu_count"),
    *_names("platform", "node platform uname system release version machine processor"),
    *_names("platform", "python_version"),
    *("socket.gethostname", "socket.getfqdn", "getpass.getuser", "multiprocessing.cpu_count"),
    *("pathlib.Path.cwd", "pathlib.Path.home", "os.path.expanduser", "os.path.expandvars"),
    *("threading.get_ident", "threading.current_thread", "dotenv.load_dotenv", "decouple.config"),
]

_FILES: Final = [
    *("builtins.open", "builtins.input", "io.open", "codecs.open", "os.open", "os.fdopen"),
    *_names("os", "listdir scandir walk remove unlink rename replace mkdir makedirs rmdir stat"),
    *_names("os", "access chmod link symlink readlink truncate system popen"),
    *_names("os.path", "exists isfile isdir islink getsize getmtime getctime"),
    *_names("shutil", "copy copy2 copyfile copytree rmtree move disk_usage which make_archive"),
    *_names("pathlib.Path()", "open read_text read_bytes write_text write_bytes exists is_file"),
    *_names("pathlib.Path()", "is_dir iterdir glob rglob mkdir rmdir unlink rename replace touch"),
    *_names("pathlib.Path()", "stat chmod symlink_to"),
    *_names("tempfile", "mkstemp mkdtemp TemporaryFile NamedTemporaryFile TemporaryDirectory"),
    *("glob.glob", "glob.iglob", "gzip.open", "bz2.open", "lzma.open", "tarfile.open"),
    *("zipfile.ZipFile", "shelve.open", "dbm.open", "aiofiles.open"),
    *_names("pandas", "read_csv read_excel read_parquet read_sql read_sql_query read_table"),
]

_NETWORK: Final = [
    *_verbs("requests"),
    *_verbs("requests.Session()"),
    *_verbs("requests.session()"),
    *_verbs("httpx"),
    *_verbs("httpx.Client()"),
    *_verbs("httpx.AsyncClient()"),
    *_verbs("aiohttp.ClientSession()"),
    *("aiohttp.request", "urllib.request.urlopen", "urllib.request.urlretrieve"),
    *("urllib3.request", "urllib3.PoolManager().request", "urllib3.PoolManager().urlopen"),
    *_names("http.client.HTTPConnection()", "connect request getresponse"),
    *_names("http.client.HTTPSConnection()", "connect request getresponse"),
    *_names("socket", "create_connection getaddrinfo gethostbyname"),
    *_names("socket.socket()", "connect bind listen accept send sendall sendto recv recvfrom"),
    *("asyncio.open_connection", "asyncio.start_server"),
    *("smtplib.SMTP", "smtplib.SMTP_SSL", "ftplib.FTP", "imaplib.IMAP4", "imaplib.IMAP4_SSL"),
    *("telnetlib.Telnet", "xmlrpc.client.ServerProxy()", "webbrowser.open"),
]

_PROCESSES_AND_DATABASES: Final = [
    *_names("subprocess", "run call check_call check_output Popen getoutput getstatusoutput"),
    *_names("asyncio", "create_subprocess_exec create_subprocess_shell"),
    *("sqlite3.connect", "aiosqlite.connect", "psycopg.connect", "psycopg2.connect"),
    *("psycopg.AsyncConnection.connect", "psycopg.Connection.connect"),
    *("asyncpg.connect", "asyncpg.create_pool", "pymysql.connect", "MySQLdb.connect"),
    *("mysql.connector.connect", "oracledb.connect", "pyodbc.connect", "duckdb.connect"),
    *("snowflake.connector.connect", "cx_Oracle.connect"),
    *_names("sqlalchemy.create_engine()", "connect begin raw_connection"),
    *_names("sqlalchemy.orm.Session()", "execute scalar scalars get query add commit flush"),
]

_SLEEPS: Final = [
    *("time.sleep", "asyncio.sleep", "gevent.sleep", "eventlet.sleep", "trio.sleep"),
    *("anyio.sleep", "threading.Event().wait"),
]

# With 0 seconds they only let others take their turn.
_YIELDS: Final = frozenset({"asyncio.sleep", "trio.sleep", "anyio.sleep", "time.sleep"})

_THREADS: Final = [
    *_names("threading", "Thread Timer"),
    *_names("concurrent.futures", "ThreadPoolExecutor ProcessPoolExecutor"),
    *_names("multiprocessing", "Process Pool"),
    *("multiprocessing.pool.ThreadPool", "multiprocessing.pool.Pool", "_thread.start_new_thread"),
    # Tasks are not: those of an async handler take their turns on its own loop, and a durable call
    # in one has its place from the moment when it is made.
    *_names("asyncio", "run to_thread run_coroutine_threadsafe"),
    *_names("asyncio.get_running_loop()", "run_in_executor run_until_complete"),
    *_names("asyncio.get_event_loop()", "run_in_executor run_until_complete"),
    *("joblib.Parallel", "anyio.to_thread.run_sync"),
]

_NONDETERMINISTIC: Final[dict[str, Rule]] = {
    **dict.fromkeys(_CLOCKS, Rule.CLOCK),
    **dict.fromkeys(_CHANCES, Rule.CHANCE),
    **dict.fromkeys(_ENVIRONMENT, Rule.ENVIRONMENT),
    **dict.fromkeys([*_FILES, *_NETWORK, *_PROCESSES_AND_DATABASES], Rule.IO),
    **dict.fromkeys(_SLEEPS, Rule.SLEEP),
    **dict.fromkeys(_THREADS, Rule.THREAD),
}

# Every method of these sends requests.
_CLIENTS: Final = (
    *("boto3.client().", "boto3.Session().client().", "boto3.session.Session().client()."),
    *("boto3.resource().", "boto3.Session().resource().", "aioboto3.Session().client()."),
    *("redis.Redis().", "redis.StrictRedis().", "redis.from_url().", "redis.asyncio.Redis()."),
    *("pymongo.MongoClient().", "pymongo.MongoClient()[].", "openai.OpenAI()."),
    *("openai.AsyncOpenAI().", "anthropic.Anthropic().", "anthropic.AsyncAnthropic()."),
    "paramiko.SSHClient().",
)

# These are nondeterministic only with fewer arguments than this.
_ARGUMENTS_ENOUGH: Final[dict[str, int]] = {
    **dict.fromkeys(_names("time", "localtime gmtime ctime asctime"), 1),
    "time.strftime": 2,
    "random.Random": 1,
    "numpy.random.default_rng": 1,
    "numpy.random.RandomState": 1,
}

# These run a function that they receive on another thread.
HANDOVERS: Final = frozenset(
    {
        *("threading.Thread", "threading.Timer", "_thread.start_new_thread", "asyncio.to_thread"),
        *_names("concurrent.futures.ThreadPoolExecutor()", "submit map"),
        *("asyncio.get_running_loop().run_in_executor", "asyncio.get_event_loop().run_in_executor"),
        *_names("multiprocessing.pool.ThreadPool()", "map apply apply_async map_async"),
    }
)

# These read what they are given, if that is in memory: the path of a buffer, or this keyword.
_READERS: Final = frozenset(
    {
        *("gzip.open", "bz2.open", "lzma.open", "tarfile.open", "zipfile.ZipFile"),
        *_names("pandas", "read_csv read_excel read_parquet"),
    }
)
_BUFFERS: Final = frozenset({"io.BytesIO()", "io.StringIO()"})
_BUFFER_KEYWORD: Final = "fileobj"

ENVIRONMENT_OBJECTS: Final = frozenset({"os.environ", "os.environb"})


def rule_broken_by(
    origin: str, call: ast.Call, path_of: Callable[[ast.expr], str | None]
) -> Rule | None:
    """Return the rule that a handler breaks by this call of what `origin` names."""
    arguments = len(call.args) + len(call.keywords)
    if arguments >= _ARGUMENTS_ENOUGH.get(origin, arguments + 1):
        return None
    if origin in _YIELDS and [ast.unparse(each) for each in call.args] == ["0"]:
        return None
    if origin in _READERS and _reads_memory(call, path_of):
        return None
    if rule := _NONDETERMINISTIC.get(origin):
        return rule
    name = origin.rsplit(".", 1)[-1]
    if origin.startswith(_CLIENTS) and name.islower():
        return Rule.IO
    return None


def _reads_memory(call: ast.Call, path_of: Callable[[ast.expr], str | None]) -> bool:
    if any(each.arg == _BUFFER_KEYWORD for each in call.keywords):
        return True
    return bool(call.args) and path_of(call.args[0]) in _BUFFERS
