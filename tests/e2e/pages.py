"""Pages of a box, as a browser without JavaScript goes through them."""

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request

from house import anyone


class Pages:
    """`origin`: what the box calls itself, where that is not how it is reached."""

    def __init__(self, base, origin=None):
        self.base, self.origin = base, origin or base
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anyone()), jar)

    def ask(self, path, body=None):
        headers = {"Host": urllib.parse.urlsplit(self.origin).netloc, "Origin": self.origin}
        request = urllib.request.Request(self.base + path, body, headers)
        try:
            with self.opener.open(request, timeout=120) as reply:
                return reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def get(self, path):
        return self.ask(path)

    def post(self, path, **fields):
        token = re.search(r'name="t" value="([^"]+)"', self.get(path))[1]
        return self.ask(path, urllib.parse.urlencode({"t": token, **fields}).encode())
