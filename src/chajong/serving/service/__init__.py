"""The service: a bundle that answers over HTTP.

server      the process: address, signals, time limits of connections
app         what is answered where
guard       around every request: the key, headers, metrics
uploads     bodies, bounded in bytes and time, to photos
keeper      the bundle that answers now, and taking a new one without a break
batcher     photos of many requests decoded and answered together
schemas     what answers look like; problems, the same for errors
"""
