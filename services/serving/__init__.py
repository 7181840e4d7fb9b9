"""The HTTP service: a FastAPI application on Ray Serve.

`app.create_api` builds the application over a `backend.Backend`; `deployments` puts each part of the back end
into its own Serve deployment; everything else is plain classes that know neither Ray nor HTTP.
"""
