"""The dashboard: everything at a glance for a person with a browser; changes nothing.

    serve        the process: where it listens, as whom, until when
    application  pages and streams by their paths
    door         who may come in: a secret of this start, a name that is an address, only questions
    asking       questions to the API, shared by everybody who looks at the same
    live         streams: a page's changing part, sent again when it has changed
    templates    pages from values; what strangers chose is escaped
    shown        values of pages from what the API says; `topics` those about one thing of all
                 volumes, `reach` moments that can be reached, `words` how states look

Invariant: it knows nothing but what the API says, and asks it as whoever it runs as, never as
root.
No request changes anything. docs/dashboard.md.
"""
