"""REST over a unix socket: what one can ask of Holdfast, for programs of this host; and by network,
for those of others that have a token.

    serve             the socket, the listener by network, who may connect, the process
    application       one route for each thing; the document that describes them (OpenAPI)
    changing          those by which operations are begun and ended
    parts             what they have in common
    schemas           what requests and answers look like, in that document
    bounds            how much, how long, how many: before anything is done
    limits            the numbers
    connections       who is at the other end of the socket (the kernel says so)
    network           who is let in by TCP: places before bytes, tokens before bodies
    certificate, known_tokens, addresses   what that takes
    rights            what whoever asks may do, judged in one place
    problems          errors as problem documents (RFC 9457)
    lookers, looking  questions are answered by processes of their own, which may hang
    questions         what can be asked
    begun_jobs        operations, carried out by `holdfast.jobs`; what they tell is kept
    metrics           figures for Prometheus
    streams           events, as they happen, for whoever listens

Invariant: the process that serves touches no storage and no catalog itself, so that nothing which
hangs stops it. It keeps nothing that must outlive it. Must never be imported by who does not serve:
it loads FastAPI. docs/api.md; docs/decisions/0065.
"""
