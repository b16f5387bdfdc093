"""Where Isobase answers otherwise on purpose: what may differ, and why. Everything else must be the same."""

from __future__ import annotations

from tests.auth.differential.intended import Intended
from tests.storage.differential.values import JsonValue

__all__ = ["INTENDED", "is_intended"]

_ANY_PART = r"\.(status|body|rows)"
_NUL = r".*(%00|\\u0000|\\\\u0000).*"

INTENDED: tuple[Intended, ...] = (
    Intended(
        "A NUL in a name is the caller's mistake; upstream lets PostgreSQL refuse it and answers 500.",
        place=_ANY_PART,
        request=_NUL,
        upstream=r"500|.*22021.*",
    ),
    Intended(
        "A dot segment is refused by the rule for keys, on reads too; upstream looks for such a row first, and names the"
        " path on its disk where it refuses.",
        place=r"\.body(\.message)?",
        request=r".*(\.|%2e).*",
        ours=r".*Invalid key: .*",
        upstream=r".*(Object not found|contains dot path segment).*",
    ),
    Intended(
        "A key may be as long as S3 lets it be; upstream's file backend fails on what is no file name.",
        place=_ANY_PART,
        request=r".*(x\*\d+|f\*\d+|d\*\d+).*",
        upstream=r"500|400|\{\}|.*(InternalError|NoSuchKey).*",
    ),
    Intended(
        "The length of an answer that is itself intended to differ.",
        place=r"\.headers\.content-length",
        request=r"HEAD (.*(\.\.|/\.|%2e).*|/bucket.*)",
    ),
    Intended(
        "A key that no object can have is refused when its upload is signed; upstream refuses the upload.",
        place=_ANY_PART,
        request=r"POST /object/upload/sign/b/.*",
        ours=r"400|.*Invalid key: .*",
    ),
    Intended(
        "An empty body is no mistake where none is asked for, whatever it calls itself.",
        place=_ANY_PART,
        request=r"POST /object/upload/sign/.*json3.*",
    ),
    Intended(
        "Lists of buckets without an order come by name; upstream's come as PostgreSQL happens to find them.",
        place=r"\.body\[\d+\].*",
        request=r"GET /bucket\?(?!.*sortColumn=.).*|GET /bucket/? as .*",
    ),
    Intended(
        "A cursor is refused unless a list made it, never with a 500; upstream guesses.",
        place=_ANY_PART,
        request=r"POST /object/list-v2/.*cursor.*",
        ours=r"400|.*InvalidParameter.*",
    ),
    Intended(
        "A cursor names an order only where one was asked for; its text is nobody's business.",
        place=r"\.body\.nextCursor",
        request=r"POST /object/list-v2/.*",
    ),
    Intended(
        "Sorted by name downwards, upstream's lists leave out the folder whose name goes on with what sorts before a slash.",
        place=r"\.body.*",
        request=r"POST /object/list.*desc.*",
    ),
    Intended(
        "A row without bytes is a missing object; upstream's file backend fails on it.",
        place=_ANY_PART,
        request=r".*(seeded|bare)\.txt.*",
        upstream="500|.*InternalError.*",
        ours="400|.*The resource was not found.*",
    ),
    Intended(
        "A row written by SQL says when it was changed; upstream knows only what an upload wrote.",
        place=r"\.headers\.(last-modified|etag|content-length|content-type)",
        request=r".*(seeded|bare)\.txt.*",
    ),
    Intended(
        "A number beyond any page is cut to what PostgreSQL takes; upstream fails on it.",
        place=_ANY_PART,
        request=r".*(limit|offset)\W+\d{10,}.*|.*(limit|offset)\W+10\*30.*",
        upstream=r"500|400|.*(22003|out of range|invalid input syntax).*",
    ),
    Intended(
        "An id with a slash names a bucket that no route reaches.",
        place=_ANY_PART,
        request=r"POST /bucket .*a/b.*",
        ours=r"400|\{\}|.*InvalidBucketName.*",
    ),
    Intended(
        "Python's objects have no prototypes to protect.",
        place=_ANY_PART,
        request=r".*(__proto__|constructor).*",
    ),
    Intended(
        "Bytes that are no UTF-8 are no JSON; upstream counts the characters that it replaced.",
        place=r"\.body\.message",
        request=r".*\\xff.*",
        upstream="Request body size did not match Content-Length",
    ),
    Intended(
        "User metadata that is no object is left out, as unreadable one is; upstream takes lists and texts to PostgreSQL,"
        " which refuses them.",
        place=_ANY_PART,
        request=r".*(/meta[12]|list-meta).*",
    ),
    Intended(
        "What a broken form is told depends on which of upstream's parsers sees it first.",
        place=r"\.body\.message",
        request=r".*multipart/form-data.*",
        upstream="Request stream closed before upload could begin",
    ),
    Intended(
        "The header of a token says what it is.",
        place=r".*\.(signedURL|url|token)",
        upstream=r".*\"header\": \{\"alg\": \"HS256\"\}\}.*",
        ours=r".*\"header\": \{\"alg\": \"HS256\", \"typ\": \"JWT\"\}\}.*",
    ),
    Intended(
        "A signed URL has an end; no server makes one without.",
        place=_ANY_PART,
        request=r"GET /object/sign/.*\{\"claims\": \{\"scope.*",
        ours=r"400|.*InvalidSignature.*",
    ),
    Intended(
        "Images are drawn by a program beside upstream, which need not run.",
        place=_ANY_PART,
        request=r".*/render/image/.*",
        upstream=r"500|.*fetch failed.*",
    ),
    Intended(
        "A signed token whose key is taken is told so before the bytes come, not after them.",
        place=_ANY_PART,
        request=r"POST /upload/resumable/sign .*",
        upstream=r"201|",
        ours=r"409|The resource already exists",
    ),
    Intended(
        "A key with dots is refused in the words of the rule for keys.",
        place=r"\.headers\.content-length",
        request=r"POST /upload/resumable .*Li4veA==.*",
    ),
    Intended(
        "What keeps an upload in parts together is each server's own.",
        place=r"\.rows\.s3_multipart_uploads(_parts)?\[\d+\]\.(upload_signature|version|size|user_metadata|etag)",
    ),
    Intended(
        "The version of an object made of parts is that of its upload.",
        place=r"\.rows\.objects\[\d+\]\.version",
        request=r"POST /s3/.*uploadId.*",
    ),
    Intended(
        "An ETag has its quotes (RFC 9110, 8.8.3), also that of a part; upstream's file backend leaves them out.",
        place=r"\.headers\.etag",
        request=r"PUT /s3/.*partNumber.*",
        upstream=r"[0-9a-f]{32}",
    ),
    Intended(
        "The ETag of an object made of parts is S3's, the same on every backend.",
        place=r"\.(body|headers\.etag|rows\.objects\[\d+\]\.metadata\.eTag).*",
        request=r"(GET|POST) /s3/b/k\.bin.*",
        ours=r'.*-2"',
    ),
    Intended(
        "An upload that is given up is answered as S3 answers it.",
        place=r"\.status",
        request=r"DELETE /s3/.*uploadId.*",
        upstream="200",
        ours="204",
    ),
    Intended(
        "Completing an upload again with the same parts answers as the first time: an answer can be lost.",
        place=_ANY_PART,
        request=r"POST /s3/.*uploadId.*",
        upstream=r"404|.*NoSuchUpload.*",
    ),
    Intended(
        "A refused HEAD of the S3 protocol has no body to tell the length of.",
        place=r"\.headers\.(content-length|content-type)",
        request=r"HEAD /s3.*",
    ),
    Intended(
        "Lists of the S3 protocol say what AWS's say: markers, counts, keys with their slashes, names in order.",
        place=r"\.(status|body.*)",
        request=r"GET /s3/(b\?(?!list-type=2(&delimiter=%2F)?(&prefix=[^&]*)? ).*| .*|b/k\.bin\?uploadId.*)",
    ),
    Intended(
        "Where upstream's validator refuses, the code is the one that AWS documents for the mistake.",
        place=r"\.body\[1\]",
        request=r"\w+ /s3/.*",
        upstream="InvalidRequest|InvalidChecksum|MissingParameter|AccessDenied",
        ours="InvalidArgument|InvalidPart|MissingParameter|MalformedXML|SignatureDoesNotMatch",
    ),
    Intended(
        "Objects of the S3 protocol say that ranges of them can be read.",
        place=r"\.headers\.accept-ranges",
        request=r"(GET|HEAD) /s3/.*",
        upstream="<absent>",
    ),
    Intended(
        "Conditions and ranges hold on GET, HEAD and copies alike, as AWS documents them.",
        place=r".*",
        request=r"(GET|HEAD|PUT) /s3/b/(k|copy6)\.txt.*('if-|'range'|source-if).*",
    ),
    Intended(
        "The key of a copy's source is percent-encoded, as AWS documents it.",
        place=_ANY_PART,
        request=r"PUT /s3/b/copy2\.txt.*",
    ),
    Intended(
        "An object always has a Cache-Control.",
        place=r"\.rows\.objects\[\d+\]\.metadata\.cacheControl",
        request=r"PUT /s3/b/copy5\.txt.*",
        upstream="<absent>",
        ours="no-cache",
    ),
    Intended(
        "A path that is no text is refused as the S3 protocol refuses: in XML, with AWS's code.",
        place=r"\.body",
        request=r"\w+ /s3/.*%(zz|ff).*",
        upstream=".*FST_ERR_BAD_URL.*",
        ours=r".*InvalidURI.*",
    ),
    Intended(
        "A part that was never sent is an InvalidPart, as AWS says.",
        place=r"\.body\[1\]",
        request=r"POST /s3/b/k\.bin\?uploadId.*",
        upstream="MissingPart",
        ours="InvalidPart",
    ),
    Intended(
        "Parts out of order are refused, as AWS refuses them; upstream sorts them, and what follows finds no upload.",
        place=r"\.(status|body|rows)",
        request=r"POST /s3/b/k\.bin\?uploadId.*",
        upstream=r"200|.*CompleteMultipartUploadResult.*|\{.*",
        ours=r"400|.*InvalidPartOrder.*|\{\}",
    ),
    Intended(
        "A document without parts means all of them, with a namespace or without one; upstream only with one.",
        place=_ANY_PART,
        request=r"POST /s3/b/k\.bin\?uploadId.*<CompleteMultipartUpload/>.*",
    ),
    Intended(
        "The ETag of an object made of parts is S3's.",
        place=r"\.headers\.etag",
        request=r"HEAD /s3/b/k\.bin.*",
        ours=r'.*-2"',
    ),
    Intended(
        "A part that is sent again takes the place of the first one's row.",
        place=r"\.rows\.s3_multipart_uploads(_parts gone)?",
        request=r"PUT /s3/b/k\.bin\?partNumber=1&.*",
    ),
    Intended(
        "The ETag of a copied part has its quotes; the bytes are those of this server's object.",
        place=r"\.body\[1\]\[0\]\[1\]",
        request=r"PUT /s3/b/copied\.bin\?.*copy-source.*",
        ours=r'"[0-9a-f]{32}"',
    ),
    Intended(
        "Conditions and digests of a write hold, as AWS documents them; upstream's file backend looks at none.",
        place=r"\.(status|body|rows)",
        request=r"PUT /s3/b/(new|md5)\.txt .*('if-none-match'|'content-md5').*",
        ours=r"412|400|.*(PreconditionFailed|InvalidDigest|BadDigest).*|\{\}",
    ),
    Intended(
        "An object always has a type and a Cache-Control.",
        place=r"\.(rows\.objects\[0\]\.metadata\.(cacheControl|mimetype)|headers\.cache-control)",
        request=r"(PUT|HEAD) /s3/(b/copied-\d|b/k\.txt|pictures/k\.txt) .*",
        upstream="<absent>",
        ours="no-cache|application/octet-stream",
    ),
    Intended(
        "A directive that is none is refused, as AWS refuses it.",
        place=_ANY_PART,
        request=r"(PUT|HEAD) /s3/b/copied-4 .*",
        ours=r"400|404|\{\}|.*InvalidArgument.*",
    ),
    Intended(
        "The source of a copy is percent-encoded and may name a version, as AWS documents it.",
        place=r"\.(status|body|rows|body\[1\])",
        request=r"PUT /s3/b/odd\.txt .*'x-amz-copy-source': '(/|%2Fb%2Fk\.txt|/b/k\.txt\?versionId=1)'.*",
    ),
    Intended(
        "A quiet DeleteObjects tells of errors only, takes 1000 keys and no empty one, as AWS documents it.",
        place=r"\.(status|body|body\[1\])",
        request=r"POST /s3/b\?delete .*(<Quiet>true|<Key></Key>|<Key>x</Key>).*",
        ours=r"None|400|.*MalformedXML.*",
    ),
    Intended(
        "What is put into a bucket whose name none can have is refused for that name; upstream looks for the bucket first.",
        place=r"\.(status|body)",
        request=r"PUT /s3/(a%2Fb|%C3%BC|x\*101|one%2Fk)/?k? .*",
        upstream=r"404|.*NoSuchBucket.*",
        ours=r"400|.*InvalidBucketName.*",
    ),
    Intended(
        "Of a bucket that is not there upstream says either thing: it looks for bucket and object at the same time.",
        place=r"\.(body|headers\.content-length)",
        request=r"(GET|HEAD) /object/public/nowhere/x.*",
    ),
    Intended(
        "A 304 has no body, and so no length (RFC 9110, 15.4.5).",
        place=r"\.headers\.content-length",
        upstream="0",
        ours="<absent>",
    ),
    Intended(
        "Percent signs of a query that encode no text become the replacement character.",
        place=r"\.headers\.content-disposition",
        request=r".*%ff.*",
    ),
    Intended(
        "What there is of images belongs to /render alone.",
        place=r"\.headers\.x-transformations",
        request=r".*width=5.*",
        ours="<absent>",
    ),
    Intended(
        "No name before the slash is no bucket's route.",
        place=_ANY_PART,
        request=r"(POST /object//a|DELETE /object/ |POST /object/list(-v2)?/ ).*",
    ),
    Intended(
        "Bare, /health is that of the process; storage's own is at /storage/v1/health.",
        place=r".*",
        request=r"GET /health .*",
    ),
    Intended(
        "The CDN here is Isobase's own; upstream needs the URL of one.",
        place=_ANY_PART,
        request=r"DELETE /cdn.*",
        upstream=r"400|.*CDN_PURGE_ENDPOINT_URL.*",
    ),
    Intended(
        "A resumable upload expires on every backend; upstream's on S3 alone.",
        place=r"\.headers\.upload-expires",
        request=r"(POST|PATCH) /upload/resumable.*",
        upstream="<absent>",
    ),
    Intended(
        "User metadata that is no JSON object is ignored; upstream stores a number, and PostgreSQL refuses the rest.",
        place=r"\.(status|body|rows.*|headers\..*)",
        request=r"POST /upload/resumable .*,metadata (NQ==|Ingi|WzFd|bnVsbA==)'.*",
    ),
    Intended(
        "An empty answer says that it is empty.",
        place=r"\.headers\.content-length",
        request=r"(POST|HEAD) /upload/resumable.*",
        upstream="<absent>",
        ours="0",
    ),
    Intended(
        "A client of no version is told of the one that is spoken, as TUS asks.",
        place=r"\.headers\.tus-version",
        request=r".* /upload/resumable.*",
        upstream="<absent>",
    ),
)


def is_intended(request: str, place: str, upstream: JsonValue, ours: JsonValue) -> bool:
    """Whether a difference stands in the list."""
    return any(intended.covers(request, place, upstream, ours) for intended in INTENDED)
