"""What Redis is asked, a subject a file: each operation is one method that makes a request, which is a value. Pure: no
module here talks to a server. May import the scripts, the keys and the values of the store; `store` alone sends them.
"""
