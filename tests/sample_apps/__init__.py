"""Tiny migration histories, named by their story.

0001 of each is the previous release (`project.run("migrate", "bad_third", "0001")`): the table
`<app>_trip` with purpose and km, which `project.insert_trips` fills. What follows is the release.
"""
