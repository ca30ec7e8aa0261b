"""The base of every configuration, and the YAML files that hold them."""

from pipeline.configuration.section import Count, Section, Share
from pipeline.configuration.template import template_lines
from pipeline.configuration.yaml_file import ConfigurationFile, section_of

__all__ = ["ConfigurationFile", "Count", "Section", "Share", "section_of", "template_lines"]
