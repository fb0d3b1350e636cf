"""The service: a library over HTTP, with a page to look and listen.

::

    settings   what a service may do and how much; checked when it is made
    app        create_app: routes, handlers and layers put together
    running    the web server that runs it
    guard      hosts, origins, tokens, security headers: who may ask at all
    sessions   the cookie a browser has instead of the token
    gate       how many at a time, how long, how large; the rest is told to come back
    passage    how one request passes the gate
    problems   every error as RFC 9457 problem details
    metrics    Prometheus counters; GET /metrics
    health     GET /api/health and /api/info
    page       the bundle: /, /map.html and /assets
    describing the OpenAPI description and a plain page of it

    context    Service, what routes share; `Here` hands it to a route
    schemas    models that several routes share
    questions  search, segments, similar      classes   classify
    labels     tags                           vectors   embeddings
    tracks     tracks                         sounds    uploads; hearing decodes them apart
    audio      the music itself, with ranges  peaks     waveforms
    covers     pictures                       playlists saved ones, and made ones
    maps       two dimensions                 jobs      add, with progress
    runs       training runs                  subsonic  what a Navidrome-like server asks

A request passes metrics, security headers, host and origin, token, gate, and then its route. Routes
translate between HTTP and `Library`; what music means is decided there. The service never imports
torch: it is handed a model that is loaded.
"""
