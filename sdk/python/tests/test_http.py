"""Requests and answers, without a server."""

import unittest

from handoff import http
from handoff.http import Headers, Request, Response, prepared_url


def answer(status=200, content=b"", **headers):
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Response("GET", "http://a.test/", status, Headers(pairs), content)


class Requests(unittest.TestCase):
    def test_urls_are_encoded(self):
        for url, params, expected in [
            ("http://a.test", None, "http://a.test/"),
            ("http://a.test/b#part", {"q": "a b&c=ä"}, "http://a.test/b?q=a+b%26c%3D%C3%A4"),
            ("http://a.test/b?n=1", {"n": [2, 3], "no": None}, "http://a.test/b?n=1&n=2&n=3"),
            ("http://a.test/größe?ü=%20", None, "http://a.test/gr%C3%B6%C3%9Fe?%C3%BC=%20"),
            ("https://bücher.test:8443/", None, "https://xn--bcher-kva.test:8443/"),
            ("http://user:word@a.test/", None, "http://a.test/"),
            ("http://[::1]:80/x", None, "http://[::1]:80/x"),
        ]:
            self.assertEqual(prepared_url(url, params), expected)

    def test_what_is_no_url_is_refused(self):
        for url in ["/orders", "a.test", "ftp://a.test", "http://", "http://[", ""]:
            with self.assertRaises(http.InvalidURL):
                prepared_url(url, None)

    def test_bodies_have_their_types(self):
        for given, content, kind in [
            ({"json": {"a": "ü"}}, '{"a": "ü"}'.encode(), "application/json"),
            ({"json": []}, b"[]", "application/json"),
            ({"data": {"a": "b c"}}, b"a=b+c", "application/x-www-form-urlencoded"),
            ({"data": "text"}, b"text", None),
            ({"data": b"bytes"}, b"bytes", None),
            ({"json": 1, "headers": {"Content-Type": "a/b"}}, b"1", "a/b"),
        ]:
            request = Request("post", "http://a.test", **given)
            self.assertEqual((request.method, request.content), ("POST", content))
            self.assertEqual(request.headers.get("content-type"), kind)
            self.assertEqual(request.headers["content-length"], str(len(content)))

    def test_basic_authentication(self):
        request = Request("GET", "http://a.test", auth=("user", "word"))
        self.assertEqual(request.headers["authorization"], "Basic dXNlcjp3b3Jk")

    def redirected(self, status, location="/b", method="POST"):
        request = Request(method, "http://a.test/x/y", json={}, auth=("user", "word"))
        return request.redirected(answer(status, location=location))

    def test_redirects(self):
        seen = self.redirected(302)
        self.assertEqual((seen.method, seen.url, seen.content), ("GET", "http://a.test/b", b""))
        self.assertNotIn("content-type", seen.headers)
        self.assertIn("authorization", seen.headers)
        kept = self.redirected(307, "c")
        self.assertEqual(
            (kept.method, kept.url, kept.content), ("POST", "http://a.test/x/c", b"{}")
        )
        self.assertEqual(self.redirected(301, method="PUT").method, "PUT")

    def test_a_redirect_to_another_host_takes_no_password_along(self):
        self.assertNotIn("authorization", self.redirected(307, "http://b.test/").headers)

    def test_head_follows_no_redirects_unless_asked(self):
        self.assertFalse(Request("head", "http://a.test").allow_redirects)
        self.assertTrue(Request("head", "http://a.test", allow_redirects=True).allow_redirects)


class Answers(unittest.TestCase):
    def test_headers_are_the_same_in_any_case(self):
        headers = Headers([("Set-Cookie", "a"), ("set-cookie", "b"), ("X-One", "1")])
        self.assertEqual(headers["SET-COOKIE"], "a, b")
        self.assertEqual(headers.get_all("set-cookie"), ["a", "b"])
        self.assertEqual(dict(headers), {"set-cookie": "a, b", "x-one": "1"})
        self.assertIn("x-ONE", headers)
        self.assertEqual((headers.get("x-two"), len(headers)), (None, 2))

    def test_texts_are_in_the_encoding_that_the_answer_names(self):
        latin = answer(content="ü".encode("latin-1"), content_type="text/plain; charset=latin-1")
        self.assertEqual(latin.text, "ü")
        self.assertEqual(answer(content="ü".encode()).text, "ü")
        self.assertEqual(answer(content=b"a", content_type="text/plain; charset=none").text, "a")

    def test_a_bad_status_shows_how_the_body_begins(self):
        self.assertTrue(answer(302).ok)
        good = answer(201)
        self.assertIs(good.raise_for_status(), good)
        with self.assertRaises(http.HTTPError) as caught:
            answer(404, b"out of paper").raise_for_status()
        self.assertEqual(
            str(caught.exception),
            "404 Client Error: Not Found for GET http://a.test/\n"
            "the body of 12 bytes begins: out of paper",
        )
        self.assertEqual(caught.exception.response.status_code, 404)

    def test_json(self):
        self.assertEqual(answer(content='{"a": "ü"}'.encode()).json(), {"a": "ü"})
        with self.assertRaises(http.JSONDecodeError) as caught:
            answer(content=b"<html>").json()
        self.assertIn("begins: <html>", str(caught.exception))
        self.assertIsInstance(caught.exception, ValueError)

    def test_errors_are_called_by_their_public_names(self):
        for error in [http.Timeout, http.InvalidURL, http.RequestException, http.HTTPError]:
            self.assertEqual(error.__module__, "handoff.http")


if __name__ == "__main__":
    unittest.main()
